"""How the results depend on the initial weights, which the publication does not state."""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Final

from model.losses import LOSSES
from pipeline.config import TrainingConfig, format_init_std
from pipeline.display.tables import markdown_table
from pipeline.errors import UsageError
from pipeline.report import published
from pipeline.report.claims import judge_claims
from pipeline.report.measured import Runs
from pipeline.report.networks import of_base, published_networks
from pipeline.report.outcome import prose
from pipeline.report.reading import Reading
from pipeline.report.reproduced import Cell, Mark, cells, sum_of_squares
from pipeline.report.statements import Verdict

_EUCLIDEAN: Final = "euclidean"
_SIGNS: Final = {Verdict.HOLDS: "✓", Verdict.REFUTED: "✗", Verdict.OPEN: "~", Verdict.MISSING: ""}


def readings(runs: Runs) -> list[Reading]:
    """List the report's own reading, and one for each other initialisation of the Euclidean networks that has runs.

    If all networks have runs with such an initialisation, there is also a reading that uses it for all of them.
    """
    base = Reading(format_init_std(runs.base.init_std), runs)
    found = [base]
    networks = published_networks(runs.base)
    for init_std in runs.initialisations():
        text = format_init_std(init_std)
        for name, losses in ((f"{text}, Euclidean networks", (_EUCLIDEAN,)), (f"{text}, all", tuple(LOSSES))):
            reading = Reading(name, runs, init_std, losses, lender=base)
            if _is_complete(reading, [config for config in networks if config.loss in losses]):
                found.append(reading)
    return found


def _is_complete(reading: Reading, networks: Sequence[TrainingConfig]) -> bool:
    """Whether all networks have runs under a reading; False if `init_std` has too many numbers for a network."""
    try:
        return all(reading.of(config) for config in networks)
    except UsageError:
        return False


def best(found: Sequence[Reading]) -> Reading:
    """Find the reading whose Euclidean networks are nearest to the published test accuracies."""
    return min(found, key=lambda reading: sum_of_squares(euclidean_cells(reading)))


def euclidean_cells(reading: Reading) -> list[Cell]:
    """Compare the six Euclidean networks with their published values."""
    networks = published_networks(reading.base)
    return cells(reading, [config for config in networks if config.loss == _EUCLIDEAN])


def section(found: Sequence[Reading]) -> Iterator[str]:
    """Yield the section that compares readings: what each reproduces, and which statements hold under it."""
    names = {reading: chr(ord("A") + number) for number, reading in enumerate(found)}
    if not published.covers(found[0].base):
        yield prose("Each line begins the Euclidean networks, or all of them, in another way.")
        yield _accuracies(found, names)
        return
    yield prose(
        "The publication does not say how its weights begin. Each reading begins the Euclidean networks, or all of "
        "them, in another way; every other network is as elsewhere in this report. A reading of one seed borrows the "
        "deviation over seeds of the others. The columns ✓ ~ ✗ count the cells that are reproduced, too wide to tell "
        "and outside; *farthest* is the Euclidean network whose test accuracy is farthest from the published one, in "
        "points."
    )
    yield _summary(found, names)
    if euclidean_cells(found[0]):
        nearest = best(found)
        yield prose(" ".join([_nearest(found, nearest, names), _all_six(found, names), *_other_losses(found, names)]))
        if nearest is not found[0]:
            yield prose(_studies(found[0], nearest))
    yield prose(
        "Which statements hold under which reading: ✓ holds, ✗ is refuted, ~ is not decided; an empty cell has no runs."
    )
    yield _statements(found, names)


def _accuracies(found: Sequence[Reading], names: dict[Reading, str]) -> str:
    """Format the mean test accuracies under each reading: of the Euclidean networks, and of all networks."""
    rows = []
    for reading in found:
        by_network = {config: [run.metrics["test_accuracy"] for run in reading.of(config)]
                      for config in published_networks(reading.base)}  # fmt: skip
        of_all = [mean(values) for values in by_network.values() if values]
        euclidean = [mean(values) for config, values in by_network.items() if values and config.loss == _EUCLIDEAN]
        means = (f"{100 * mean(each):.2f} of {len(each)}" if each else "-" for each in (euclidean, of_all))
        rows.append([names[reading], reading.name, *means])
    heads = ["", "initialisation", "Euclidean networks, test (%)", "all networks, test (%)"]
    return markdown_table(rows, heads, texts=2)


def _summary(found: Sequence[Reading], names: dict[Reading, str]) -> str:
    rows = []
    for reading in found:
        of_euclidean, of_all = euclidean_cells(reading), cells(reading, published_networks(reading.base))
        euclidean = next(each for each in published_networks(reading.base) if each.loss == _EUCLIDEAN)
        rows.append(
            [
                names[reading],
                reading.name,
                len(reading.of(euclidean)),
                _counts(of_euclidean),
                f"{sum_of_squares(of_euclidean):.2f}",
                _farthest(of_euclidean),
                _counts(of_all),
                f"{sum_of_squares(of_all):.2f}",
            ]
        )
    heads = ["", "initialisation", "seeds", "Euclidean ✓ ~ ✗", "squares", "farthest", "all ✓ ~ ✗", "squares"]
    return markdown_table(rows, heads, texts=2)


def _counts(found: Sequence[Cell]) -> str:
    kinds = [each.kind for each in found]
    return " ".join(f"{kinds.count(kind):2}" for kind in (Mark.REPRODUCED, Mark.TOO_WIDE, Mark.OUTSIDE))


def _farthest(found: Sequence[Cell]) -> str:
    differences = [(each.config, 100 * each.difference) for each in _accurate(found)]
    if not differences:
        return "-"
    config, difference = max(differences, key=lambda each: abs(each[1]))
    return f"{config.activation} {config.hidden_layers}h {difference:+.2f}"


def _accurate(found: Sequence[Cell]) -> list[Cell]:
    return [each for each in found if each.metric == "test_accuracy"]


def _nearest(found: Sequence[Reading], nearest: Reading, names: dict[Reading, str]) -> str:
    """Say which reading is nearest to the publication, and how all networks are trained under it if they are not."""
    base = found[0]
    text = (
        f"Reading {names[nearest]} ({nearest.name}) comes nearest to the published test accuracies of the Euclidean "
        f"networks: the sum of squared differences is {sum_of_squares(euclidean_cells(nearest)):.2f} squared points, "
        f"{sum_of_squares(euclidean_cells(base)):.2f} under reading A."
    )
    trained = any(reading.init_std == nearest.init_std and len(reading.losses) == len(LOSSES) for reading in found)
    if nearest is not base and not trained:
        text += f" `mlflow run . -e grid -P init_std={format_init_std(nearest.init_std)}` trains all networks under it."
    return text


def _all_six(found: Sequence[Reading], names: dict[Reading, str]) -> str:
    """Say which readings may have given the published test accuracies of all Euclidean networks."""
    fitting = [
        names[reading]
        for reading in found
        if all(each.kind is not Mark.OUTSIDE for each in _accurate(euclidean_cells(reading)))
    ]
    if fitting:
        return f"No Euclidean network's published test accuracy is outside under {', '.join(fitting)}."
    return (
        "Under every reading, the published test accuracy of at least one Euclidean network is outside: none of these "
        "initialisations gave all six."
    )


def _other_losses(found: Sequence[Reading], names: dict[Reading, str]) -> Iterator[str]:
    """Compare the networks with the other losses where they have runs under another initialisation as well."""
    others = [config for config in published_networks(found[0].base) if config.loss != _EUCLIDEAN]
    for reading in found[1:]:
        if len(reading.losses) == len(LOSSES):
            squares = [sum_of_squares(cells(each, others)) for each in (found[0], reading)]
            yield (
                f"For the {len(others)} networks with the other losses, this sum is {squares[0]:.2f} under reading A "
                f"and {squares[1]:.2f} under reading {names[reading]}."
            )


def _studies(base: Reading, nearest: Reading) -> str:
    """Say what the studies reproduce under the nearest reading."""
    swept = [of_base(base.base, each.config) for each in published.studies()]
    tried = [config for config in swept if nearest.of(config)]
    if not tried:
        return "The studies have no runs under this reading."
    ours, theirs = cells(nearest, tried), cells(base, tried)
    return (
        f"Of the published figures of the studies, this reading reproduces {_count(ours)}, reading A {_count(theirs)}; "
        f"the sums of squared differences of their test accuracies are {sum_of_squares(ours):.2f} and "
        f"{sum_of_squares(theirs):.2f}."
    )


def _count(found: Sequence[Cell]) -> str:
    return f"{sum(each.kind is Mark.REPRODUCED for each in found)} of {len(found)}"


def _statements(found: Sequence[Reading], names: dict[Reading, str]) -> str:
    judged = [judge_claims(reading) for reading in found]
    rows = []
    for claims in zip(*judged, strict=True):
        for each in zip(*(claim.judgements for claim in claims), strict=True):
            verdicts = [judgement.verdict for judgement in each]
            known = sum(verdict is not Verdict.MISSING for verdict in verdicts)
            holds = sum(verdict is Verdict.HOLDS for verdict in verdicts)
            rows.append([claims[0].number, each[0].text, *(_SIGNS[verdict] for verdict in verdicts),
                         f"{holds} of {known}"])  # fmt: skip
    return markdown_table(rows, ["", "statement", *names.values(), "holds in"], texts=2)
