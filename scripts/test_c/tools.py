"""The programs that the checks of C need, and which packages of Debian have them."""

from __future__ import annotations

import shutil

PACKAGES = {
    "gcc": "gcc libc6-dev",
    "clang": "clang",
    "cppcheck": "cppcheck",
    "clang-tidy": "clang-tidy",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "riscv64-linux-gnu-gcc": "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross",
    "qemu-aarch64": "qemu-user",
    "qemu-riscv64": "qemu-user",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}


def missing() -> list[str]:
    """The packages of the programs that are not on the path."""
    absent = (packages for program, packages in PACKAGES.items() if shutil.which(program) is None)
    return sorted({package for packages in absent for package in packages.split()})


def has(*programs: str) -> bool:
    return all(shutil.which(program) for program in programs)
