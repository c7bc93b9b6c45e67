"""The price book: what is in it, what goes over it, and what nobody has priced (G5)."""

import pytest

from podinsight.domain.money import micros
from podinsight.domain.prices import CPU, CUDA, LOCAL, Price, PriceBook, Service
from podinsight.errors import ConfigError

LISTED = Price(micros("1.006"), "list 2026-06-17")
CHEAP = Price(micros("0.526"), "list")


def test_a_listed_device_has_its_price() -> None:
    assert PriceBook({CUDA: CHEAP, "g5.xlarge": LISTED}).device(CUDA) == CHEAP


def test_an_unknown_device_costs_as_much_as_the_dearest_gpu_and_says_so() -> None:
    book = PriceBook({CPU: Price(micros("9"), "settings"), CUDA: CHEAP, "g5.xlarge": LISTED})
    assert book.device("p4d.24xlarge") == Price(LISTED.micros, "dearest list price", estimated=True)
    assert book.device("") == book.device("gpu")


def test_an_unknown_device_is_never_free() -> None:
    for book in (PriceBook({}), PriceBook({CPU: LOCAL}), PriceBook({CUDA: Price(0, "settings")})):
        found = book.device("gpu")
        assert (found.micros, found.estimated) == (micros("0.526"), True)


def test_services_that_are_not_in_the_book_are_there_anyway() -> None:
    nat = Price(micros("0.045"), "list")
    book = PriceBook(services={Service.NAT: nat})
    assert (book.service(Service.NAT), book.service(Service.EGRESS)) == (nat, LOCAL)


def test_in_a_cloud_what_is_not_in_the_book_is_never_free() -> None:
    """G5: unknown price → list price, never zero."""
    nat = Price(micros("0.045"), "list")
    book = PriceBook({CUDA: CHEAP, "g5.xlarge": LISTED}, {Service.NAT: nat}, is_cloud=True)
    assert book.service(Service.NAT) == nat
    for machine in (Service.GPU, Service.IDLE):
        assert book.service(machine) == Price(LISTED.micros, "dearest list price", estimated=True)
    with pytest.raises(ConfigError, match=r"what llm costs here: name it in prices_file, under \[services\]"):
        book.service(Service.LLM)
    for over in (PriceBook({}).over(book), book.over(PriceBook({}))):
        assert over.is_cloud, "whichever of the two knows it"


def test_a_book_goes_over_another_price_by_price() -> None:
    nat, storage = Price(1, "file"), Price(2, "list")
    lower = PriceBook({CPU: LOCAL, CUDA: CHEAP}, {Service.NAT: storage, Service.STORAGE: storage})
    found = PriceBook({CUDA: LISTED}, {Service.NAT: nat}).over(lower)
    assert found == PriceBook({CPU: LOCAL, CUDA: LISTED}, {Service.NAT: nat, Service.STORAGE: storage})
