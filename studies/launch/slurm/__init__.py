"""Workers as jobs of SLURM: each is an element of a job array, and what it did is read from the folder of its study.

Which signals a batch job hears, found with SLURM 22.05 and a script that ends with `exec python`, without srun. SIGCONT
comes with each of them; after a SIGTERM comes SIGKILL, within KillWait.

    --signal=B:USR1@60       SIGUSR1, up to a minute earlier. Where bash waits for srun, bash hears it, and dies.
    the time limit           SIGTERM. The job is not put back, unless somebody asks for that before.
    scancel                  SIGTERM; it leaves the queue.
    scontrol requeue,        SIGTERM; pending again (reason BeginTime) for two minutes, or until `scontrol update
    preemption, node down    JobId=ID StartTime=now`. SLURM_RESTART_COUNT is then set.
    a drained node           nothing: the job runs to its end, the next do not begin.
    kill -9 of the process   it leaves the queue (FAILED) and is not put back.
    scontrol requeue ID      of an array takes all its elements, and ID is also that of its last one: say ARRAY_INDEX.
    the controller down      nothing: the job runs on. squeue fails after 9 s, sbatch after 18.

A job that ended leaves squeue, and without a database there is no sacct: how it ended is told by its diary.
"""
