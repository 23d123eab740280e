"""Where a robot contract comes from when none is named: the recordings and stores themselves (design §7)."""
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import BagError, ContractError
from .bag_open import open_bag
from .contract import RobotContract


def contract_of(sources: Sequence[Path | str], robot: str = '') -> RobotContract:
    """The contract `robot`, a name or a file; without, the one inside the first bag, store or URL that has one.

    ContractError when none has: a foreign recording needs a contract by `--robot`.
    """
    from .dataset.plan import find_bags
    from .dataset.remote import RemoteStore, url_of
    from .dataset.store import is_store, Store
    if robot:
        return RobotContract.load(robot)
    for each in sources:
        url, source = url_of(each), Path(each)
        if url is not None:
            with TemporaryDirectory() as folder:
                return RemoteStore(url, Path(folder)).contract
        if not source.exists():
            raise BagError(f'{source}: there is no such bag or store')
        if is_store(source):
            return Store(source).contract
        if source.suffix == '.npz':
            continue
        for bag in find_bags([source]):
            try:
                with open_bag(bag) as opened:
                    if opened.contract is not None:
                        return opened.contract
            except BagError:
                continue    # the reading of the bags says what is wrong with this one
    raise ContractError(f'{sources[0]}: has no robot contract inside: give --robot NAME or FILE '
                        '(jepa-ros robot init --bag drafts one)')
