"""Objects that may not be there."""

from podinsight.errors import Permanent
from podinsight.ports import ObjectStore


def stored(objects: ObjectStore, key: str) -> bytes | None:
    """An object; None when it is not there.

    Raises:
        PodinsightError: it is there and cannot be had, as ports.ObjectStore says.
    """
    try:
        return objects.get(key)
    except Permanent:
        # Asked for before it was written, and looked for after: then it can be had now.
        return objects.get(key) if objects.exists(key) else None
