"""Trace files as they are published, small, for tests; and episodes of them."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from fairlead.contracts.episodes import EpisodeHeader, RequestLine, TimedLine
from fairlead.studies.episodes import azure, gentd26
from fairlead.studies.episodes.files import writing
from fairlead.studies.episodes.imports import network_lines
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.network import network_of

CITY7 = cluster("city7", default_ports("city7"))

TRACES = Path(__file__).parents[2].parent / "shared" / "traces"
"""The developers' set of real traces, which elsewhere is not there."""


def azure_row(at_s: float, prompt: int = 100, output: int = 10) -> str:
    """Return a row `at_s` seconds after 18:00."""
    minutes, seconds = divmod(at_s, 60)
    return f"2023-11-16 {18 + int(minutes) // 60}:{int(minutes) % 60:02d}:{seconds:09.6f}0,{prompt},{output}"


def write_azure(path: Path, rows: Sequence[str], header: str = ",".join(azure.HEADER)) -> Path:
    """Write an Azure trace with the line ends of the published one."""
    path.write_bytes("".join(f"{row}\r\n" for row in (header, *rows)).encode())
    return path


def gentd26_row(day: int, seconds: int, exec_s: str = "20.0", prompt: str = "64.0") -> str:
    """Return a row some seconds after midnight of a day in November 2024."""
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"2024-11-{day:02d} {clock},TXT_2_IMG,SUCCEED,{exec_s},G0001,{prompt},,1.0,30.0,M0001,0"


def write_gentd26(path: Path, rows: Sequence[str]) -> Path:
    """Write a GenTD26 trace, packed as the developers' set has it."""
    text = "".join(f"{row}\n" for row in (",".join(gentd26.HEADER), *rows))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def write_servegen(path: Path, clients: dict[str, str], lengths: object = None) -> Path:
    """Write an archive of clients with their windows, and with the same distributions for each."""
    with tarfile.open(path, "w:gz") as archive:
        for name, windows in clients.items():
            files = {f"language/x/{name}-trace.csv": windows}
            if lengths is not None:
                files[f"language/x/{name}-dataset.json"] = json.dumps(lengths)
            for file, text in files.items():
                data = text.encode()
                member = tarfile.TarInfo(file)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def windows(rate: float, count: int, pattern: str = "Gamma", shape: float = 0.25) -> str:
    """Return so many windows of a client of one rate."""
    return "".join(f"{600 * at},{rate},2.0,{pattern},{shape},{1 / rate / shape}\n" for at in range(count))


def header(name: str = "some", run_s: float = 100.0, warm_up_s: float = 10.0, **more: object) -> EpisodeHeader:
    """Return the header of an episode on city7."""
    distances, payloads = network_lines(CITY7, network_of(CITY7))
    fields = {
        "name": name,
        "begins_at_s": 0.0,
        "window_start_s": warm_up_s,
        "window_end_s": run_s,
        "cluster": CITY7,
        "distances": distances,
        "payloads": payloads,
        "seed": 1,
    }
    return EpisodeHeader.model_validate(fields | more)


def request(at_s: float, model: str = "small-text", site: str = "site-1", work_s: float = 2.0) -> RequestLine:
    """Return a request."""
    return RequestLine(at_s=at_s, site=site, model=model, work_s=work_s)


def write_episode(path: Path, lines: Iterable[TimedLine], head: EpisodeHeader | None = None) -> Path:
    """Write an episode."""
    with writing(path, head or header()) as write:
        for line in lines:
            write(line)
    return path
