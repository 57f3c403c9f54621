"""Writes the derived tables of docs/reference/providers.md: what is known, and what is proven.

    python tools/support_matrix.py [--check] [--recordings FOLDER]

The tables about vendors come from the catalog. The one about recorded traffic comes from replaying
FOLDER (../shared/recordings by default) through the real connection; where the folder is absent it
is left as it is. ``--check`` changes nothing and fails where the page is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs
import trio

from actrio.providers import ProviderSettings
from actrio.providers._vendors import CAPABILITIES, CATALOG, Vendor
from actrio.providers.contract import Report, load_exchanges, replay, report_of
from actrio.providers.dialects import Deviations

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "providers.md"
RECORDINGS = ROOT.parent / "shared" / "recordings"
SEED = 0

_PART = re.compile(r"(<!-- support: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_COMMAND = "actrio contract ../shared/recordings"


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    folder = RECORDINGS
    if "--recordings" in arguments:
        folder = Path(arguments[arguments.index("--recordings") + 1])
    parts = dict(PARTS)
    if folder.is_dir():
        report = trio.run(_replayed, folder)
        parts["recordings"] = lambda: recordings(report)
    told = PAGE.read_text(encoding="utf-8")
    mended = written(told, parts)
    if mended == told:
        return 0
    if check:
        print(f"{PAGE.relative_to(ROOT)} is out of date: run python tools/support_matrix.py")
        return 1
    PAGE.write_text(mended, encoding="utf-8")
    return 0


def written(page: str, parts: dict[str, Callable[[], list[str]]]) -> str:
    """Return ``page`` with what stands between the marks of ``parts`` made anew."""

    def part(found: re.Match[str]) -> str:
        make = parts.get(found[2])
        if make is None:
            return found[0]
        return f"{found[1]}\n" + "".join(f"{line}\n" for line in make()) + f"\n{found[3]}"

    return _PART.sub(part, page)


async def _replayed(folder: Path) -> Report:
    return report_of(await replay(load_exchanges(folder), seed=SEED))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    names = list(head)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def capabilities() -> list[str]:
    return table(
        ("provider", *CAPABILITIES),
        (
            (f"`{name}`", *("✓" if one in vendor.can else "" for one in CAPABILITIES))
            for name, vendor in CATALOG.items()
        ),
    )


def meanings() -> list[str]:
    return [f"- **{name}**: {meaning}" for name, meaning in CAPABILITIES.items()]


def access() -> list[str]:
    return table(
        ("provider", "key", "base_url", "its variables", "regions", "dialects"),
        (
            (
                f"`{name}`",
                _codes(vendor.key_env) + ("" if vendor.key_needed else " (optional)"),
                vendor.base_url,
                _codes([*(one.name for one in vendor.base_url_env), *vendor.header_env.values()]),
                ", ".join(f"`{region}` {url}" for region, url in vendor.regions.items()),
                _codes(vendor.dialects),
            )
            for name, vendor in CATALOG.items()
        ),
    )


def defaults() -> list[str]:
    general = ProviderSettings()
    rows = []
    for name, vendor in CATALOG.items():
        for field in ("max_connections", "idle_seconds", "connect_seconds"):
            value = getattr(vendor.defaults, field)
            if value != getattr(general, field):
                rows.append(
                    (f"`{name}`", f"`{field}`", f"{value:g}", f"{getattr(general, field):g}")
                )
    return table(("provider", "setting", "default", "of others"), rows)


def deviations() -> list[str]:
    chat = [(name, one) for name, one in CATALOG.items() if "openai" in one.dialects]
    return table(
        ("provider", "its chat completions differ by"),
        ((f"`{name}`", "; ".join(_deviations_of(vendor)) or "nothing") for name, vendor in chat),
    )


def _deviations_of(vendor: Vendor) -> Iterable[str]:
    plain = Deviations()
    for field in attrs.fields(Deviations):
        value = getattr(vendor.deviations, field.name)
        if value == getattr(plain, field.name):
            continue
        if field.name == "business_codes":
            yield f"{len(value)} business codes"
        else:
            shown = ", ".join(value) if isinstance(value, tuple) else value
            yield f"`{field.name}` = {shown}"


def recordings(report: Report) -> list[str]:
    kinds = sorted({kind for _, kind in report.kinds})
    rows = [
        (
            f"`{name}`",
            *(
                f"{report.kinds[name, kind].matched}/{report.kinds[name, kind].total}"
                if (name, kind) in report.kinds
                else ""
                for kind in kinds
            ),
            str(tally),
        )
        for name, tally in report.providers.items()
    ]
    rows.append(("all", *("" for _ in kinds), f"**{report.total}**"))
    return [f"`{_COMMAND}` (seed {SEED}):", "", *table(("provider", *kinds, "all"), rows)]


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


PARTS: dict[str, Callable[[], list[str]]] = {
    "capabilities": capabilities,
    "meanings": meanings,
    "access": access,
    "defaults": defaults,
    "deviations": deviations,
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
