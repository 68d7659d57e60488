"""What counters are called: no name in a counter can be read."""

from authserver import limits
from authserver.crypto.secret_values import derive
from authserver.requests.networks import networks
from authserver.storage.sign_ins import Bucket


def network_buckets(names: bytes, what: str, address: str, *, per_minute: int) -> list[Bucket]:
    """Return what is counted for each network of an address, `per_minute` for the narrowest; none for 0.

    `names` is the key for names in counters, `address` what `client_address` returns.
    """
    if per_minute == 0:
        return []
    return [
        Bucket(derive(names, f"{what} from", digits), factor * per_minute, 60 / factor / per_minute)
        for digits, factor in zip(networks(address), limits.NETWORK_FACTORS, strict=True)
    ]
