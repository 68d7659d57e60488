"""Networks, as limits count them."""

import pytest

from authserver.requests.networks import UNKNOWN, networks


@pytest.mark.parametrize(
    ("address", "digits"),
    [
        ("192.0.2.17", ("000000c000021100", "000000c0000211", "000000c00002")),
        ("2001:db8:1:203::/64", ("20010db800010203", "20010db8000102", "20010db80001")),
        ("unknown", (UNKNOWN, "0" * 14, "0" * 12)),
    ],
)
def test_a_place_begins_with_its_networks(address: str, digits: tuple[str, ...]) -> None:
    assert networks(address) == digits
