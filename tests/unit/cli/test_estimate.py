"""What a copy would take, by arithmetic."""

import json
from decimal import Decimal

import pytest

from multipartcopy.cli import estimate as estimates
from multipartcopy.cli.arguments import parser
from multipartcopy.cli.errors import CliError, Exit
from multipartcopy.cli.estimate import Estimate, Requests, estimate, providers
from multipartcopy.cli.main import main
from multipartcopy.jobs import DEFAULT_MEMORY
from multipartcopy.plan import GiB, MiB, make_plan


def of(*words: str) -> Estimate:
    return estimate(parser().parse_args(["estimate", *words]))


def test_it_is_the_operator_s_plan():
    made = of("1Ti", "--parallelism=16", "--streams=2", "--source-part-size=128Mi")
    assert made.plan == make_plan(1 << 40, source_layout=128 * MiB, parallelism=16, streams=2)
    assert made.pods == 16
    assert made.memory == 64 * MiB


def test_memory_is_that_of_the_pods_that_run_at_once():
    made = of("20Mi", "--part-size=10Mi", "--memory=128Mi")
    assert (made.plan.part_count, made.pods, made.memory) == (2, 1, 128 * MiB)


def test_the_default_of_memory_is_that_of_the_jobs():
    assert estimates.DEFAULT_MEMORY == DEFAULT_MEMORY


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["60Ti"], Exit.REFUSED),
        (["1Ti", "--part-size=5Mi"], Exit.REFUSED),
        (["1Ti", "--part-size=large"], Exit.REFUSED),
        (["1Ti", "--memory=large"], Exit.USAGE),
    ],
)
def test_what_cannot_be(words: list[str], code: Exit):
    with pytest.raises(CliError) as error:
        of(*words)
    assert error.value.code is code


def test_reading_back_reads_every_part_of_both_sides_again():
    once, twice = of("1Gi"), of("1Gi", "--verification=ReadBack")
    parts = once.plan.part_count
    assert twice.source.reads - once.source.reads == parts
    assert twice.destination.reads - once.destination.reads == parts + 1  # a last look
    assert twice.destination.writes - once.destination.writes == 1  # a page of ListParts


def test_a_store_that_copies_by_itself_is_not_read():
    made = of("1Gi", "--mode=ServerSide", "--source-part-size=128Mi")
    assert made.plan == make_plan(GiB, source_layout=128 * MiB, server_side=True)
    assert made.source == Requests(reads=4, writes=0)


def test_a_price():
    prices = providers()["r2"]
    assert Requests(reads=1_000_000, writes=1_000_000).price(prices) == Decimal("4.86")


def test_each_price_has_its_page_and_its_day():
    for prices in providers().values():
        assert prices.source.startswith("https://")
        assert len(prices.seen) == len("2026-01-02")
        assert 0 <= prices.read <= prices.write < 1


def test_the_report_names_its_sources(capsys: pytest.CaptureFixture[str]):
    words = ["5Ti", "--provider=gcs", "--destination-provider=r2"]
    assert main(["estimate", *words]) == Exit.DONE
    shown = capsys.readouterr().out
    assert "Parts                         9,987 of 525.0 MiB" in shown
    assert "less than $0.01 (Google Cloud Storage, a single region)" in shown
    assert "$0.05 (Cloudflare R2)" in shown
    assert "https://developers.cloudflare.com/r2/pricing/, seen 2" in shown


def test_without_a_provider_there_is_no_price(capsys: pytest.CaptureFixture[str]):
    main(["estimate", "1Gi"])
    assert "$" not in capsys.readouterr().out


def test_for_programs(capsys: pytest.CaptureFixture[str]):
    main(["estimate", "64Gi", "--provider=r2", "-o", "json"])
    made = json.loads(capsys.readouterr().out)
    assert made["bytes"] == 64 * GiB
    assert made["memory"] == made["pods"] * made["memoryPerPod"]
    assert made["requests"]["source"]["provider"] == "r2"
    assert made["requests"]["destination"]["usd"] > 0


def test_an_unknown_provider(capsys: pytest.CaptureFixture[str]):
    assert main(["estimate", "1Gi", "--provider=nobody"]) == Exit.USAGE
    assert "there are aws, gcs" in capsys.readouterr().err


def test_the_providers_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["estimate", "1", "--provider=list"]) == Exit.DONE
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(
        providers()
    )
