"""What this machine is and can do: device, precision, memory, and its measured matmul peak."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.errors import WhetError

if TYPE_CHECKING:
    import torch


def choose_device(wanted: str, local_rank: int = 0) -> torch.device:
    """The device of a recipe; of several CUDA ones, this process's. Raises WhetError for one that is not there."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        wanted = next(name for name, available in there.items() if available)
    if not there.get(wanted):
        known = ", ".join(name for name, available in there.items() if available)
        raise WhetError(
            f"{wanted} is not there",
            where="device",
            fix=f"set device to auto, or one of: {known}",
        )
    if local_rank and wanted == "mps":
        raise WhetError(
            "several processes cannot share one MPS device", where="processes", fix="set device: cpu"
        )
    if local_rank and wanted == "cuda" and local_rank >= torch.cuda.device_count():
        raise WhetError(
            f"process {local_rank} of this machine has no CUDA device of its own ({torch.cuda.device_count()} there)",
            where="processes",
            fix="start as many processes per machine as it has devices",
        )
    return torch.device(wanted, local_rank) if local_rank and wanted == "cuda" else torch.device(wanted)


def choose_precision(wanted: str, device: torch.device) -> tuple[str, str]:
    """The precision of matrix products, and why in a few words."""
    if wanted != "auto":
        return wanted, "as the recipe says"
    if _has_bf16(device):
        return "bf16", "this device multiplies bf16 in hardware"
    if device.type == "cuda":
        return "fp16", "this device has no bf16 in hardware, but fp16"
    return "fp32", "this device has no bf16 in hardware"


def _has_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        flags = cpu_flags()
        return bool({"avx512_bf16", "amx_bf16", "bf16"} & flags)
    return False


def cpu_flags() -> set[str]:
    """Instruction-set flags as Linux names them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return set()
    return {
        flag
        for line in text.splitlines()
        if line.startswith(("flags", "Features"))
        for flag in line.split(":", 1)[1].split()
    }


def has_compiler(device: torch.device) -> tuple[bool, str]:
    """Whether torch.compile can work here, and why."""
    if sys.platform == "win32" or device.type == "mps":
        return False, f"torch.compile is not used on {device.type if device.type == 'mps' else 'Windows'}"
    compiler = next(
        (name for name in (os.environ.get("CXX"), "g++", "clang++") if name and shutil.which(name)), None
    )
    if compiler is None:
        return False, "no C++ compiler is installed"
    return True, f"found {compiler}"


def memory_peak_bytes(device: torch.device) -> int:
    """Most memory held so far: the allocator's on CUDA, the process's resident set elsewhere."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    return process_peak_bytes()


def process_peak_bytes() -> int:
    """The most that was resident of this process so far."""
    with suppress(
        OSError, IndexError, ValueError
    ):  # unlike getrusage's, it does not begin with the parent process's
        status = Path("/proc/self/status").read_text("utf-8", "replace")
        return int(status.split("VmHWM:", 1)[1].split("kB", 1)[0]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def give_back_freed_memory() -> bool:
    """Hand back to the system what freed tensors left in the heap between those that live; whether that could be done.

    Reading a model leaves gaps: a base of 218 M parameters held in nf4 took 656 MB without this and takes 145 MB.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    return hasattr(libc, "malloc_trim") and bool(libc.malloc_trim(0))


def keep_freed_memory(device: torch.device) -> bool:
    """Let this process reuse the memory of freed tensors at once; whether that could be set.

    glibc gives every freed tensor of more than 32 MB back to the system, which hands it out again page by
    page, zeroed: a tenth to a quarter of a training step on a CPU (bench/stages.py). Numbers are `M_*` of malloc.h.
    """
    import ctypes

    mmap_max, trim_threshold, top_pad, never = -4, -1, -2, -1
    libc = ctypes.CDLL(None)
    if device.type != "cpu" or not hasattr(libc, "gnu_get_libc_version"):
        return False
    settings = ((mmap_max, 0), (trim_threshold, never), (top_pad, 2**26))
    return all(libc.mallopt(name, value) for name, value in settings)


def matmul_peak(device: torch.device, precision: str, *, budget_s: float = 0.6) -> float:
    """Best floating-point operations per second of a large square matrix product, measured now."""
    import torch

    size = 8192 if device.type == "cuda" else 2048
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    best, end = float("inf"), time.perf_counter() + budget_s
    runs = 0
    while runs < 3 or time.perf_counter() < end:
        _synchronise(device)
        began = time.perf_counter()
        torch.mm(a, b)
        _synchronise(device)
        if runs:
            best = min(best, time.perf_counter() - began)
        runs += 1
    return 2.0 * size**3 / best


def _synchronise(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def cores() -> int:
    """Processor cores that this process may use; where the system does not say (macOS), all there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(device: torch.device | None = None) -> dict[str, Any]:
    """The machine, for the report: processor, cores, memory, versions."""
    from whet.store import versions

    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} on {platform.machine()}",
        **versions("torch", "transformers"),
    }
    if device is not None and device.type == "cuda":
        import torch

        facts["processor"] = torch.cuda.get_device_name(device)
        facts["memory_bytes"] = torch.cuda.get_device_properties(device).total_memory
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def nvidia_cards(driver: Path = Path("/proc/driver/nvidia/gpus")) -> dict[str, int]:
    """Names of this machine's NVIDIA cards, as the driver gives them (Linux), and how many there are of each. No torch."""
    counts: dict[str, int] = {}
    for file in sorted(driver.glob("*/information")):
        with suppress(OSError, IndexError):
            name = file.read_text("utf-8", "replace").split("Model:", 1)[1].split("\n", 1)[0].strip()
            counts[name] = counts.get(name, 0) + 1
    return counts
