"""The process of one contender: `python contender.py JOB`, where JOB is a job as JSON. Started by gate.py."""

from __future__ import annotations

import json
import sys

from gate import Gate
from job import Job


def main() -> None:
    """Train until the parent goes away."""
    job, gate = Job(**json.loads(sys.argv[1])), Gate()
    if job.system == "whet":
        from whet_side import train
    elif job.system == "hf":
        from hf_side import train
    elif job.system == "trl":
        from trl_side import train
    elif job.system == "litgpt":
        from litgpt_side import train
    else:
        from bare_side import train
    train(job, gate)


if __name__ == "__main__":
    main()
