"""What a copy would take, by arithmetic."""

import json
from decimal import Decimal

import pytest

from multipartcopy.api.location import Profile
from multipartcopy.cli import estimate as estimates
from multipartcopy.cli.arguments import parser
from multipartcopy.cli.errors import CliError, Exit
from multipartcopy.cli.estimate import Estimate, Requests, estimate, providers
from multipartcopy.cli.main import main
from multipartcopy.jobs import DEFAULT_MEMORY
from multipartcopy.plan import GiB, MiB, make_plan
from multipartcopy.s3.profiles import stores


def of(*words: str) -> Estimate:
    return estimate(parser().parse_args(["estimate", *words]))


def test_it_is_the_operator_s_plan():
    made = of("1Ti", "--parallelism=16", "--streams=2", "--source-part-size=128Mi")
    assert made.plan == make_plan(1 << 40, source_layout=128 * MiB, parallelism=16, streams=2)
    assert made.pods == 16
    assert made.memory == 64 * MiB


@pytest.mark.parametrize("profile", stores())
def test_it_keeps_to_the_limits_of_the_store(profile: Profile):
    made = of("700Gi", f"--provider={profile}")
    assert made.plan == make_plan(700 * GiB, limits=stores()[profile].limits)


def test_what_a_store_does_not_take_is_not_estimated():
    """As the operator would say."""
    with pytest.raises(
        CliError,
        match=r"5,497,558,138,880 bytes; the limit is 5,492,189,429,760 .* those of Cloudflare R2\)",
    ) as error:
        of("5Ti", "--destination-provider=r2")
    assert error.value.code is Exit.REFUSED
    assert of("5Ti", "--source-provider=r2").plan == of("5Ti").plan


def test_memory_is_that_of_the_pods_that_run_at_once():
    made = of("20Mi", "--part-size=10Mi", "--memory=128Mi")
    assert (made.plan.part_count, made.pods, made.memory) == (2, 1, 128 * MiB)
    assert of("1Gi", "--streams=Auto", "--parallelism=1000", "--memory=16Mi").pods == 16


def test_the_default_of_memory_is_that_of_the_jobs():
    assert estimates.DEFAULT_MEMORY == DEFAULT_MEMORY


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["60Ti"], Exit.REFUSED),
        (["1Ti", "--part-size=5Mi"], Exit.REFUSED),
        (["1Ti", "--part-size=large"], Exit.REFUSED),
        (["1Ti", "--memory=large"], Exit.USAGE),
        (["1Ti", "--memory=8Mi"], Exit.USAGE),
        (["1Ti", "--parallelism=0"], Exit.USAGE),
        (["1Ti", "--parallelism=1001"], Exit.USAGE),
        (["1Ti", "--streams=17"], Exit.USAGE),
        (["1Ti", "--streams=many"], Exit.USAGE),
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
    prices = providers()["r2"].prices
    assert prices
    assert Requests(reads=1_000_000, writes=1_000_000).price(prices) == Decimal("4.86")


def test_each_price_has_its_page_and_its_day():
    for prices in (one.prices for one in providers().values() if one.prices):
        assert prices.source.startswith("https://")
        assert len(prices.seen) == len("2026-01-02")
        assert 0 <= prices.read <= prices.write < 1


def test_the_report_names_its_sources(capsys: pytest.CaptureFixture[str]):
    words = ["4Ti", "--provider=gcs", "--destination-provider=r2"]
    assert main(["estimate", *words]) == Exit.DONE
    shown = capsys.readouterr().out
    assert "Parts                         9,987 of 420.0 MiB" in shown
    assert "less than $0.01 (Google Cloud Storage, a single region)" in shown
    assert "$0.05 (Cloudflare R2)" in shown
    assert "https://developers.cloudflare.com/r2/pricing/, seen 2" in shown


@pytest.mark.parametrize("words", [[], ["--provider=Scaleway"]])
def test_without_a_known_price_there_is_none(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["estimate", "1Gi", *words]) == Exit.DONE
    assert "$" not in capsys.readouterr().out
    main(["estimate", "1Gi", *words, "-o", "json"])
    made = json.loads(capsys.readouterr().out)
    assert made["requests"]["source"].keys() == {"reads", "writes"}


def test_for_programs(capsys: pytest.CaptureFixture[str]):
    main(["estimate", "64Gi", "--provider=r2", "-o", "json"])
    made = json.loads(capsys.readouterr().out)
    assert made["bytes"] == 64 * GiB
    assert made["memory"] == made["pods"] * made["memoryPerPod"]
    assert made["requests"]["source"]["provider"] == "r2"
    assert made["requests"]["destination"]["usd"] > 0


def test_an_unknown_provider(capsys: pytest.CaptureFixture[str]):
    assert main(["estimate", "1Gi", "--provider=nobody"]) == Exit.USAGE
    assert "there are aws, gcs, idrive-e2, r2, wasabi, AlibabaOSS" in capsys.readouterr().err


def test_the_providers_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["estimate", "--provider=list"]) == Exit.DONE
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert listed == list(providers())
    assert {*listed} > {"aws", "r2", "Scaleway", "Garage"}
    assert not {*listed} & {"AWS", "CloudflareR2", "Other"}


def test_each_provider_with_a_profile_has_its_limits():
    named = {one.profile for one in providers().values()}
    assert named == {*Profile} - {Profile.AUTO}
