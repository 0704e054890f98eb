"""Where and how a step computes: the device, and the precision of its matrix products."""

import contextlib

import torch

from pagoda.log import logger


def pick_device() -> torch.device:
    """Return the GPU if one is visible, else the CPU, and log which. cuDNN is to be repeatable, in whole float32."""
    if torch.cuda.is_available():
        logger.info("device: cuda, %s", torch.cuda.get_device_name())
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False  # float32 is to mean float32
        return torch.device("cuda")
    logger.info("device: cpu, threads: %d", torch.get_num_threads())
    return torch.device("cpu")


def pick_precision(asked: str, device: torch.device) -> str:
    """Return "float32" or "bfloat16" as asked; "auto" is bfloat16 where that is faster on the device."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "float32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Return the context in which a forward pass runs in `precision` (parameters stay float32)."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
