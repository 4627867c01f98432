"""Every attack, by area. `attack.py` says what an attack is."""

from tests.sandboxes.attacks import filesystem, information, network, privilege, resources, timing
from tests.sandboxes.attacks.attack import Attack

ATTACKS: tuple[Attack, ...] = (
    *network.ATTACKS,
    *filesystem.ATTACKS,
    *privilege.ATTACKS,
    *information.ATTACKS,
    *timing.ATTACKS,
    *resources.ATTACKS,
)
