"""An episode: a stretch of demand, and of what was observed and decided in it, as the lines of a file.

    header     first line: format, cluster, network, window, where it comes from
    …          any of the other lines, in order of time
    end        last line: how many lines of each kind came before, and their digest

Each line is one of these messages as a JSON object. `at_s` counts domain seconds from the demand's begin, which is
the domain instant `begins_at_s` of the header; what was known before has negative instants. Messages inside a line
keep the instants that they had.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from fairlead.contracts.base import Count, Id, Instant, Many, Message, Name, Positive, Ratio, Seconds, Text
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.readings import Choice, GatewayReport, NodeReport, Outcome
from fairlead.contracts.tuning import PolicyName, PolicySettings

FORMAT: Final = "fairlead-episode"
VERSION: Final = 1
"""Of the format; a reader refuses any other."""


class Distance(Message):
    """How far a node is from a site."""

    site: Id
    node: Id
    one_way_s: Seconds


class Payload(Message):
    """How long a model's prompts and answers are under way between client and site."""

    model: Id
    up_s: Seconds
    down_s: Seconds


class Thinned(Message):
    """How the requests of one model were made from a trace: enough for somebody else to make them again."""

    trace: Name
    """Kind of the trace: `azure`, `servegen`, `gentd26`, `mooncake`, `csv`, `episode`."""
    file: Annotated[str, Field(min_length=1, max_length=256)]
    """Its name, without the directory."""
    model: Id
    from_s: Seconds
    """Where in the trace the stretch begins, seconds from the trace's first request."""
    lasts_s: Positive
    """Length of the trace: after it, it begins again."""
    trace_per_s: Positive
    """Mean rate of the rows that were looked at, of all layers together."""
    layers: Annotated[int, Field(ge=1)]
    """Stretches of the trace, one after the other, that were laid over one another; time is never compressed."""
    kept_ratio: Ratio
    """Probability with which a row became a request of this model."""
    offered_per_s: Seconds
    """Mean rate that is expected of it."""
    clients: Many[Name] = ()
    """The clients that were chosen, where the trace has clients and not all were taken."""


class Recorded(Message):
    """The run that an episode was recorded from."""

    policy: PolicyName
    settings: PolicySettings
    seed: Count
    static: Many[NodePlacement]
    """Placement that the policy was given; empty where it was given none."""
    speed: Positive
    """Domain seconds in a wall second."""
    scenario: Text
    load: Positive | None
    """None where nobody said what was offered."""
    clients: bool
    """Whether requests are from the clients' own log; else from what gateways saw, who do not know a request's work."""
    version: Text
    """Of Fairlead."""


class EpisodeHeader(Message):
    """First line of an episode."""

    kind: Literal["header"] = "header"
    format: Literal["fairlead-episode"] = FORMAT
    version: Annotated[int, Field(ge=VERSION, le=VERSION)] = VERSION
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,126}[a-z0-9])?$")]
    begins_at_s: Instant
    """Domain instant, in seconds since the Unix epoch, at which `at_s` is 0; 0 where it means nothing."""
    window_start_s: Seconds
    """Requests from here on are measured; those before are warm-up."""
    window_end_s: Positive
    """The episode's end: requests come before it."""
    cluster: Cluster
    distances: Many[Distance]
    """Of each site and node."""
    payloads: Many[Payload]
    """Of each model."""
    seed: Count
    """Of all that was drawn to make it."""
    sources: Many[Thinned] = ()
    recorded: Recorded | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.window_start_s >= self.window_end_s:
            raise ValueError(f"window_start_s {self.window_start_s:g} is not before window_end_s")
        sites, nodes = [s.id for s in self.cluster.sites], [n.id for n in self.cluster.nodes]
        if sorted((d.site, d.node) for d in self.distances) != [(site, node) for site in sites for node in nodes]:
            raise ValueError("distances must name each pair of a site and a node of the cluster once")
        if sorted(p.model for p in self.payloads) != [m.id for m in self.cluster.models]:
            raise ValueError("payloads must name each model of the cluster once")
        return self


class RequestLine(Message):
    """A client sends a request."""

    kind: Literal["request"] = "request"
    at_s: Seconds
    id: Name | None = None
    """As outcomes and choices name it; None where nobody does."""
    site: Id
    model: Id
    work_s: Positive
    """Compute that it takes, in seconds of a node of speed 1."""
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None


class AnswerLine(Message):
    """What a client saw at a request's end."""

    kind: Literal["answer"] = "answer"
    at_s: float
    id: Name
    end: Literal["finished", "failed", "open"]
    """`open`: the client left while it was running."""
    reason: Text
    """Short code, empty when finished."""
    first_byte_s: float | None
    """When the answer's head came, counted as `at_s`; None if none did."""
    sends: Count
    """2 when the first connection broke before any byte and it was sent again."""


class OutcomeLine(Message):
    """How a request ended, from the ingress that owned it."""

    kind: Literal["outcome"] = "outcome"
    at_s: float
    """Of its end."""
    outcome: Outcome


class ChoiceLine(Message):
    """A routing decision in full: one in a hundred."""

    kind: Literal["choice"] = "choice"
    at_s: float
    choice: Choice


class NodeReportLine(Message):
    """What a node agent said of its node."""

    kind: Literal["node-report"] = "node-report"
    at_s: float
    report: NodeReport


class GatewayReportLine(Message):
    """What a gateway said of itself, without the outcomes and choices, which have lines of their own."""

    kind: Literal["gateway-report"] = "gateway-report"
    at_s: float
    report: GatewayReport


class DecisionLine(Message):
    """A line of the journal: with its input and output, so that it can be executed again."""

    kind: Literal["decision"] = "decision"
    at_s: float
    record: DecisionRecord


class MishapLine(Message):
    """What befalls a node, which nobody is told of."""

    kind: Literal["mishap"] = "mishap"
    at_s: Seconds
    what: Literal["node-lost", "node-back", "speed-turned"]
    node: Id
    speed: Positive | None = None
    """With `speed-turned`: seconds of work done in a second from now on."""

    @model_validator(mode="after")
    def _has_a_speed(self) -> Self:
        if (self.speed is None) == (self.what == "speed-turned"):
            raise ValueError("speed goes with speed-turned, and with nothing else")
        return self


class LineCount(Message):
    """How many lines of a kind there are."""

    kind: Name
    lines: Count


class EpisodeEnd(Message):
    """Last line of an episode: a file without it was cut off."""

    kind: Literal["end"] = "end"
    lines: Annotated[int, Field(ge=1)]
    """Before this one, the header too."""
    counts: Many[LineCount]
    """By kind, sorted, the header apart."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of all bytes before this line."""


TimedLine = (
    RequestLine | AnswerLine | OutcomeLine | ChoiceLine | NodeReportLine | GatewayReportLine | DecisionLine | MishapLine
)
"""What lies between the header and the end, in order of `at_s`."""
