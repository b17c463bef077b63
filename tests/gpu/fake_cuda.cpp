// Lets a torch that was built without CUDA hold tensors that say they are on a CUDA device. They have no numbers.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {
C10_REGISTER_GUARD_IMPL(CUDA, c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA>)
}

namespace at {
struct HooksOfOneCard final : public CUDAHooksInterface {
    HooksOfOneCard(CUDAHooksArgs) {}
    void init() const override {}
    bool hasCUDA() const override { return true; }
    bool isAvailable() const override { return true; }
    bool isBuilt() const override { return true; }
    bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
    c10::DeviceIndex deviceCount() const override { return 1; }
    int getNumGPUs() const override { return 1; }
};
using at::RegistererCUDAHooksRegistry;
REGISTER_CUDA_HOOKS(HooksOfOneCard)
}
