"""The errors a user can cause. Each message is one line that names the thing and says what to do.

They are raised where the cause is known and caught once, at the edge: the command line prints them and exits
with code 2, a lifecycle node logs them and fails its transition, an action server returns them with a code.
"""


class JepaRosError(Exception):
    """Base of all errors whose message is meant for the user as it stands."""


class ContractError(JepaRosError):
    """A robot contract, or a message or tensor that does not fit it."""


class BagError(JepaRosError):
    """A recording that is missing, damaged, too short, or of another robot."""


class DatasetError(JepaRosError):
    """A training store that is missing, half built, damaged, or of another robot."""


class CheckpointError(JepaRosError):
    """A checkpoint that is missing, damaged, or made for another contract."""


class ConfigError(JepaRosError):
    """A configuration file, task, agent or command-line argument."""


class CostError(JepaRosError):
    """A cost term or weight that does not exist or breaks a guardrail."""


class WorldError(JepaRosError):
    """A simulated world that is unknown, or asked for an impossible state."""


class TrainingError(JepaRosError):
    """Training that cannot go on: collapse, non-finite loss, unusable data."""
