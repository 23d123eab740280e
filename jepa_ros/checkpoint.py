"""Checkpoints on disk: `model.safetensors` (weights) and `model.yaml` (the model card). Nothing is unpickled.

The card says what the weights are: architecture, robot contract, normalisation, planner settings, the bags they were
trained on with their hashes, the commands that make them again, and their figures.
"""
import hashlib
from pathlib import Path
import shutil

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
import yaml

from jepa_ros import checkpoint_v1, paths
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.cost.term_set import term_set_sha256
from jepa_ros.errors import CheckpointError, ConfigError
from jepa_ros.registry import nearest
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.yaml_errors import first_error, load_yaml, unreadable
from jepa_ros.world_model.config import ModelConfig

WEIGHTS, CARD = 'model.safetensors', 'model.yaml'
FORMAT = 2


class ModelCard(BaseModel):
    """Contents of `model.yaml`."""

    model_config = ConfigDict(extra='forbid', protected_namespaces=())

    format: int = FORMAT
    name: str
    sha256: str = ''                                    # of model.safetensors
    contract_sha256: str
    contract: dict                                      # the robot contract, whole
    architecture: dict                                  # ModelConfig
    policy_width: int = 256
    policy_chunk: int = 8                               # actions the policy gives at once
    policy_doubts: bool = False                         # whether it knows how sure it is
    policy_tokens: int = Field(0, ge=0)                 # numbers of the task token it takes
    policy_recalled: int = Field(0, ge=0)               # numbers of what memory says that it takes
    policy_threshold: float = Field(0.0, ge=0)          # uncertainty below which Mode-1 may act alone; 0: never
    critic_width: int = 256
    critic_quantiles: int = Field(1, ge=1)              # of the energy to come; 1: its mean
    critic_tokens: int = Field(0, ge=0)
    planners: list[dict] = Field(min_length=1)          # PlannerConfig per level, level 0 first
    goal_tolerance: float = Field(gt=0)                 # goal energy below which a goal counts as reached
    normalisation: dict[str, list[float]] = Field(default_factory=dict)
    bags: dict[str, str] = Field(default_factory=dict)  # name -> sha256
    commands: list[str] = Field(default_factory=list)   # record, train, evaluate
    metrics: dict[str, float] = Field(default_factory=dict)
    training: dict = Field(default_factory=dict)
    term_set_sha256: str = ''                           # of the intrinsic terms it was trained under; '': not known

    def model_settings(self) -> ModelConfig:
        try:
            return ModelConfig.model_validate(self.architecture)
        except ValidationError as error:
            raise ConfigError(first_error(error, '', 'architecture', ModelConfig)) from None

    def planner_settings(self) -> list[PlannerConfig]:
        levels = len(self.architecture['levels'])
        if len(self.planners) > levels:
            raise ConfigError(f'{len(self.planners)} planners for a model of {levels} level(s)')
        return [PlannerConfig(**p) for p in self.planners]


def find(model: str | Path) -> Path:
    """Directory of a shipped model by name, or of a path. CheckpointError when it is not a checkpoint."""
    given = Path(model)
    shipped = paths.share_dir() / 'models'
    folder = given if given.is_dir() or len(given.parts) > 1 else shipped / str(model)
    if not folder.is_dir():
        known = sorted(p.parent.name for p in shipped.glob(f'*/{CARD}'))
        raise CheckpointError(f'model {str(model)!r} not found{nearest(str(model), known)}: shipped are '
                              f'{", ".join(known) or "none"}; or give the folder of a checkpoint')
    for name in (WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise CheckpointError(f'{folder}: {name} is missing: not a complete checkpoint, train or copy it again')
    return folder


def read_card(folder: Path) -> ModelCard:
    """The card alone, cheap; CheckpointError names file and field."""
    path = folder / CARD
    try:
        data = load_yaml(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, yaml.YAMLError) as error:      # ValueError: not UTF-8, or a date that is none
        raise CheckpointError(unreadable(error, str(path))) from None
    if not isinstance(data, dict):
        raise CheckpointError(f'{path}: holds no model card: copy the checkpoint again')
    if data.get('format', FORMAT) not in (checkpoint_v1.FORMAT, FORMAT):    # first: another format has other fields
        raise CheckpointError(f'{path}: format {data["format"]!r} is not known to this version (it reads up to '
                              f'{FORMAT}): update jepa_ros')
    try:
        return ModelCard.model_validate(
            checkpoint_v1.card(data) if data.get('format') == checkpoint_v1.FORMAT else data)
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckpointError(f'{path}: {".".join(map(str, first["loc"])) or "file"}: {first["msg"]}') from None


def verify(folder: Path, contract: RobotContract | None = None) -> ModelCard:
    """Check weights against the card and the card against the contract; CheckpointError in one line."""
    card = read_card(folder)
    path = folder / WEIGHTS
    if sha256(path) != card.sha256:
        raise CheckpointError(f'{path}: sha256 does not match {CARD} (truncated or changed): copy it again')
    if contract is not None and contract.sha256() != card.contract_sha256:
        raise CheckpointError(
            f'{folder}: trained for robot {card.contract.get("name")!r} (contract {card.contract_sha256[:12]}), '
            f'not for {contract.name!r} (contract {contract.sha256()[:12]}): choose another model or train one')
    return card


def read(folder: Path, contract: RobotContract | None = None) -> tuple[ModelCard, dict[str, Tensor]]:
    """Card and tensors; errors as in `verify`."""
    card, path = verify(folder, contract), folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path}: not a readable safetensors file '
                              f'({" ".join(str(error).split())}): copy it again') from None
    return card, checkpoint_v1.tensors(card, tensors) if card.format == checkpoint_v1.FORMAT else tensors


def other_terms(folder: Path, card: ModelCard) -> str:
    """A line that warns where the intrinsic cost is not the one a checkpoint was trained under; '' where it is."""
    here = term_set_sha256()
    if card.term_set_sha256 in ('', here):
        return ''
    return (f'{folder}: trained under another set of intrinsic cost terms ({card.term_set_sha256[:12]}, here '
            f'{here[:12]}): its critic and policy may expect other energies; train them again if plans are worse')


def check_writable(folder: Path) -> None:
    """CheckpointError when no checkpoint can be written there; asked before hours of training. Leaves nothing."""
    probe = folder / f'.{WEIGHTS}.probe'
    try:
        with paths.tidied(folder):
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise CheckpointError(f'{folder}: a checkpoint cannot be written here ({error.strerror}): '
                              'give another --output') from None


def write(folder: Path, card: ModelCard, tensors: dict[str, Tensor]) -> ModelCard:
    """Write both files, weights first; returns the card with its hash. CheckpointError when the disk refuses."""
    check_writable(folder)
    partial = folder / (WEIGHTS + '.partial')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial)
        card = card.model_copy(update={'format': FORMAT, 'sha256': sha256(partial)})
        text = yaml.safe_dump(card.model_dump(mode='json'), sort_keys=False, allow_unicode=True, width=110)
        partial_card = folder / (CARD + '.partial')
        partial_card.write_text(text, encoding='utf-8')
        shutil.copymode(partial_card, partial)      # safetensors makes files for their owner alone
        partial.replace(folder / WEIGHTS)
        partial_card.replace(folder / CARD)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f'{folder}: the checkpoint cannot be written ({_first_line(error)}): free space and run '
                              'the command again, it goes on where it was') from None
    return card


def _first_line(error: Exception) -> str:
    return (getattr(error, 'strerror', None) or str(error)).splitlines()[0]


def sha256(path: Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') \
            else hashlib.sha256(file.read()).hexdigest()
