"""Work that may take long, beside an executor of one thread."""
from collections.abc import Callable
import threading
from typing import Any

from rclpy.task import Future


async def off_thread(executor, work: Callable[[], Any], name: str = 'work'):
    """Await `work()`, done in a thread of its own, while the executor goes on; raises what it raises."""
    done = Future(executor=executor)

    def call():
        try:
            done.set_result((work(), None))
        except Exception as error:  # raised again in the executor, where it is handled
            done.set_result((None, error))
        executor.wake()
    threading.Thread(target=call, name=name, daemon=True).start()
    result, error = await done
    if error is not None:
        raise error
    return result
