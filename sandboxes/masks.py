"""What every backend hides of /proc, /sys and /etc: it tells about the host, and no candidate needs it.

The first part is what Docker masks by itself (naming any path replaces its list). The rest is ours: the kernel's command
line may hold tokens, the power meters (`powercap`) tell what other programs compute, and kernel symbols help an exploit.
"""

FOLDERS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/sys/class/dmi",
)
FILES = (
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/cmdline",
    "/proc/config.gz",
    "/proc/kallsyms",
    "/proc/key-users",
    "/proc/kmsg",
)
OF_THE_BUILDER = ("/etc/hostname", "/etc/resolv.conf")
"""Files that a root file system inherits from the machine it was made on."""
