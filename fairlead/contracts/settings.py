"""What `fairlead.yaml` and `FAIRLEAD_*` set: read once into one frozen value that is handed down."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fairlead.contracts.base import Bytes, Count, Many, Message, Positive, Seconds, Text
from fairlead.contracts.cluster import Cluster, Url
from fairlead.contracts.containers import Subdomain, Toleration
from fairlead.contracts.dialogue import BudgetLimits
from fairlead.contracts.tuning import PolicyName, PolicySettings, WatchdogSettings

Port = Annotated[int, Field(ge=0, le=65535)]


class ControlSettings(Message):
    """The control API."""

    host: str = "127.0.0.1"
    """Where it listens; without a token it must be a loopback address."""
    port: Port = 8700
    url: Url = "http://127.0.0.1:8700"
    """Where others reach it."""
    body_limit_bytes: Bytes = 4_000_000
    """A larger request is refused with 413; a report of 100 pods takes 40 KB."""
    page_limit: Annotated[int, Field(ge=1, le=1000)] = 100
    tls_certificate: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    """Clients must show a certificate of this authority; None asks for none."""
    auth: bool = True
    """Without, it answers loopback clients only."""


class MongoSettings(Message):
    """The database."""

    uri: str | None = None
    """Any MongoDB 6 or later; None starts an embedded one under `fairlead up`."""
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,63}$")] = "fairlead"
    report_ttl_s: Positive = 86_400.0
    """Wall seconds that reports and outcomes are kept."""
    timeout_s: Positive = 5.0
    """Wall seconds for one operation."""


class GatewaySettings(Message):
    """The data path."""

    host: str = "127.0.0.1"
    body_limit_bytes: Bytes = 20_000_000
    """A larger prompt is refused with 413."""
    offer_body_bytes: Bytes = 65_536
    """Bodies up to this go with the offer (DESIGN §3)."""
    connect_timeout_s: Positive = 2.0
    """Wall seconds to reach a keeper or a pod."""
    ack_timeout_s: Positive = 2.0
    """Wall seconds until a keeper has answered an offer."""
    sample_one_in: Annotated[int, Field(ge=1)] = 100
    """Share of the choices that are journaled in full."""
    open_limit: Annotated[int, Field(ge=1)] = 10_000
    """Requests open at once at an ingress; more are answered with 429. A waiting one takes some 10 KB and its body."""
    drain_s: Annotated[float, Field(ge=0)] = 10.0
    """Wall seconds that open requests have to end once a gateway is told to stop; it takes no new connections then.
    What ends a process by force waits longer than that."""
    network_s: Annotated[float, Field(ge=0)] = 0.0
    """τ: expected network delay to a node of another site, domain seconds."""


class NodeAgentSettings(Message):
    """The node agent."""

    runtime: Literal["process", "kubernetes"] = "process"
    """What starts and stops pods: processes of this machine, or the Kubernetes API (`kubernetes`)."""
    warm_parent: str | None = None
    """Socket of the process that forks emulated model servers."""
    stop_grace_s: Positive = 5.0
    """Wall seconds between asking a drained pod to end and ending it."""
    drain_limit_s: Positive = 600.0
    """Domain seconds after which a drain is forced, and its losses are counted."""
    backoff_first_s: Positive = 5.0
    """Domain seconds before a crashed pod starts again; doubles with each crash in a row."""
    backoff_most_s: Positive = 300.0
    spool_bytes: Bytes = 16_000_000
    """Reports kept on disk while the control plane is away; beyond, newer ones are refused and counted."""


class KubernetesSettings(Message):
    """The Kubernetes API, where the runtime is `kubernetes`."""

    namespace: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] = "fairlead"
    """Where the pods of models live."""
    kubeconfig: str | None = None
    """File with address and credentials; None takes the service account of the pod that this process runs in, or else
    the file that `KUBECONFIG` names."""
    context: Text | None = None
    """Context of the kubeconfig; None takes its current one."""
    timeout_s: Positive = 10.0
    """Wall seconds for one call; a slow API server takes some."""
    watch_s: Positive = 300.0
    """Wall seconds after which a watch is renewed where it stands, by chance down to half of them; the server's own
    limit is 30 to 60 min."""
    stuck_s: Positive = 30.0
    """Wall seconds that a pod may be unschedulable, crashing or without its image before its start is given up."""
    service_account: Subdomain | None = None
    """Of the pods of models; None mounts no token."""
    tolerations: Many[Toleration] = ()
    """Of the pods of models, and of those that pull their images: where nodes that hold models have taints."""
    lease: bool = False
    """Of several planners, slot agents or kube-syncs only the one that holds the Lease of its kind acts."""
    gateway: Subdomain | None = None
    """Name of the `Gateway` of Gateway API to which routes are exported; None exports none."""
    gateway_namespace: Subdomain | None = None
    """Where that is; None takes the namespace of the pods."""
    route_answer_s: Positive = 30.0
    """Wall seconds within which a gateway should say something of a route that was changed."""


class LlmEndpoint(Message):
    """A server that answers OpenAI-shaped chat completions."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$", max_length=512)]
    """Base address, such as `https://api.example.com/v1`; without credentials."""
    key_variable: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; the key itself is no setting. None sends none."""
    planner_model: Text | None = None
    """Name of the model that the planner asks; None takes the first that the server lists. So too the next."""
    slot_agent_model: Text | None = None
    prompt_price: Seconds = 0.0
    """Money for a million tokens of prompt."""
    reply_price: Seconds = 0.0
    """Money for a million tokens of reply."""


class LlmSettings(Message):
    """Language models for planner and slot agent; without an endpoint everything runs on the fallback."""

    endpoints: Many[LlmEndpoint] = ()
    """Asked in this order: the next one where the breaker of the one before is open or it fails with time left."""
    slot_deadline_ratio: Annotated[float, Field(gt=0, le=0.9)] = 0.6
    """Share of a wall slot that the slot agent's answers may take together (DESIGN §6)."""
    planner_deadline_slots: Annotated[float, Field(gt=0, le=9)] = 0.6
    """Wall slots that the planner's answers may take together; three for a model on a small machine."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    planner_proposals: Annotated[int, Field(ge=1, le=16)] = 1
    """Proposals that the planner's model is asked for, one after the other while its deadline lasts; the twin chooses
    from them."""
    planner_reply_tokens: Annotated[int, Field(ge=16, le=32_768)] = 1200
    slot_reply_tokens: Annotated[int, Field(ge=16, le=32_768)] = 700
    concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    """Questions at once from one agent, over all its endpoints."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """Requests for one question, over all endpoints, while its deadline lasts."""
    breaker_failures: Annotated[int, Field(ge=1)] = 3
    """Failures in a row after which an endpoint is not asked for `breaker_open_s`."""
    breaker_open_s: Positive = 15.0
    """Wall seconds; then one question tries it again."""
    budget: BudgetLimits = BudgetLimits()
    record: str | None = None
    """File to which each question and its answer are added, a JSON line each."""
    replay: str | None = None
    """Such a file, asked in place of an endpoint."""
    gate_deadline_slots: Annotated[float, Field(gt=0, le=9)] = 0.3
    """Wall slots that the twin may take to judge a proposal, beyond the deadline of the answers."""
    gate_nice: Annotated[int, Field(ge=0, le=19)] = 5
    """By how much the twin's process yields the processor to others; its thread that compiles the core by 5 more."""
    gate_engine: Literal["auto", "reference"] = "auto"
    """`auto` judges by the compiled core once that is loaded, or compiled, which takes 75 s of a processor once;
    `reference` without it, in a third of the memory and some fifty times the time."""
    watchdog: WatchdogSettings = WatchdogSettings()
    case_capacity: Annotated[int, Field(ge=8, le=100_000)] = 2000
    """Cases kept for one cluster; the oldest of the commonest regime go first."""


class DeciderSettings(Message):
    """A process without an HTTP server: the planner, the slot agent, kube-sync."""

    metrics_host: str = "127.0.0.1"
    """Where it listens: this machine only, or 0.0.0.0 for a scraper elsewhere; whoever reaches it may read counts."""
    metrics_port: Port | None = None
    """Port where `/metrics` answers; None opens none."""


class Settings(Message):
    """Everything that can be set."""

    state_dir: str = ".fairlead"
    """Where processes keep what must survive their restart."""
    cluster: str | Cluster = "city7"
    """A named one, or nodes, models and sites in full."""
    policy: PolicyName = "marginal-dpp"
    seed: Count = 0
    speed: Positive = 1.0
    """Domain seconds in a wall second."""
    clock_origin_s: Annotated[float, Field(ge=0)] = 0.0
    """Unix time at which domain and wall agree; slots count from it."""
    log_level: Annotated[str, Field(pattern=r"^(debug|info|warning|error)$")] = "info"
    control: ControlSettings = ControlSettings()
    mongodb: MongoSettings = MongoSettings()
    gateway: GatewaySettings = GatewaySettings()
    node_agent: NodeAgentSettings = NodeAgentSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    planner: DeciderSettings = DeciderSettings()
    slot_agent: DeciderSettings = DeciderSettings()
    kube_sync: DeciderSettings = DeciderSettings()
    llm: LlmSettings = LlmSettings()
    controller: PolicySettings = PolicySettings()
