"""What works on this machine, line by line: each line says good, or what to do.

findings = examine("auto")                  # every check there is
print(as_text(findings))
"""

from rnnlab.doctor.examination import examine
from rnnlab.doctor.finding import Finding
from rnnlab.doctor.text import as_json, as_text

__all__ = ["Finding", "as_json", "as_text", "examine"]
