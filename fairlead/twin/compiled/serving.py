"""What pods do: `twin.node` and the keeper's account of `policy.backlog`, compiled; sums in the same order."""

import math

from fairlead.policy.backlog import LEAST_LEFT_RATIO
from fairlead.twin.compiled.events import ENDED, enter
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.world import (
    READY,
    RUNNING,
    hosts,
    models,
    nodes,
    places,
    pods,
    queued,
    requests,
    sites,
    world,
)


@native
def count_up(w: int, n: int) -> None:
    """Let the account of a node count up to now."""
    node = nodes(w, n)
    now_s = world(w).now_s
    for_s = now_s - node.counted_at_s
    if for_s <= 0.0:
        return
    node.counted_at_s = now_s
    if node.busy == 0:
        return
    if node.pausing:
        one = pods(w, n, runner(w, n))
        one.given_s += for_s * node.learned / one.running
        return
    for k in range(node.queues):
        pod = pods(w, n, queued(w, n, k).model)
        if pod.running > 0:
            pod.given_s += for_s * node.learned / (node.busy * pod.running)


@native
def runner(w: int, n: int) -> int:
    """Return the model whose pod runs while the others pause, as the account has it: `policy.backlog.Backlog.runner`.

    There must be a busy one. Of equals it is the pod that was opened first.
    """
    best, least_s = -1, math.inf
    for k in range(nodes(w, n).queues):
        m = queued(w, n, k).model
        if pods(w, n, m).running == 0:
            continue
        left_s = least_left(w, n, m)
        if best < 0 or left_s < least_s or (left_s == least_s and pods(w, n, m).instance < pods(w, n, best).instance):
            best, least_s = m, left_s
    return best


@native
def least_left(w: int, n: int, m: int) -> float:
    """Return the work that is left of that request of a busy pod that has least left."""
    pod, work_s = pods(w, n, m), models(w, m).work_s
    began_s = places(w, n, m, 0).began_s
    for j in range(1, pod.running):
        began_s = min(began_s, places(w, n, m, j).began_s)
    return float(max(work_s - (pod.given_s - began_s), LEAST_LEFT_RATIO * work_s))


@native
def counted_work(w: int, n: int, m: int) -> float:
    """Return W of a pod by its account, which has counted up to now."""
    pod = pods(w, n, m)
    work_s = models(w, m).work_s
    least_s = LEAST_LEFT_RATIO * work_s
    left_s = 0.0
    for k in range(pod.running):
        left_s += max(work_s - (pod.given_s - places(w, n, m, k).began_s), least_s)
    return float(work_s * pod.waiting + left_s)


@native
def ready_in(w: int, n: int, m: int, starting: int) -> float:
    """Return how long a pod still starts."""
    pod = pods(w, n, m)
    if pod.phase != starting:
        return 0.0
    return float(max(0.0, pod.ready_at_s - world(w).now_s))


@native
def work_on(w: int, n: int) -> None:
    """Do the work of a node since the last instant: busy pods share it, and the requests in a pod its part."""
    node = nodes(w, n)
    now_s = world(w).now_s
    for_s = now_s - node.at_s
    node.at_s = now_s
    if node.busy == 0:
        return
    if node.pausing:
        one = runner(w, n)
        work_in(w, n, one, for_s * node.speed / pods(w, n, one).running)
        return
    for k in range(node.queues):
        m = queued(w, n, k).model
        running = pods(w, n, m).running
        if running > 0:
            work_in(w, n, m, for_s * node.speed / (node.busy * running))


@native
def work_in(w: int, n: int, m: int, done_s: float) -> None:
    """Do so much work of each request in a pod."""
    for j in range(pods(w, n, m).running):
        places(w, n, m, j).left_s -= done_s


@native
def append(w: int, n: int, m: int, r: int) -> None:
    """Put a request behind those who wait for a pod."""
    pod, request = pods(w, n, m), requests(w, r)
    request.next, request.before = -1, pod.last
    if pod.last >= 0:
        requests(w, pod.last).next = r
    else:
        pod.first = r
    pod.last = r
    pod.waiting += 1
    join(w, r)


@native
def withdraw(w: int, n: int, m: int, r: int) -> None:
    """Take out a request that waits for a pod."""
    pod, request = pods(w, n, m), requests(w, r)
    if request.before >= 0:
        requests(w, request.before).next = request.next
    else:
        pod.first = request.next
    if request.next >= 0:
        requests(w, request.next).before = request.before
    else:
        pod.last = request.before
    pod.waiting -= 1
    part(w, r)


@native
def join(w: int, r: int) -> None:
    """List a request among those of its ingress that wait for pods, the newest first."""
    request, site = requests(w, r), sites(w, requests(w, r).site)
    newer, older = -1, site.newest
    while older > r:
        newer, older = older, requests(w, older).older
    request.newer, request.older = newer, older
    if newer >= 0:
        requests(w, newer).older = r
    else:
        site.newest = r
    if older >= 0:
        requests(w, older).newer = r
    site.queued += 1


@native
def part(w: int, r: int) -> None:
    """List it there no longer."""
    request, site = requests(w, r), sites(w, requests(w, r).site)
    if request.newer >= 0:
        requests(w, request.newer).older = request.older
    else:
        site.newest = request.older
    if request.older >= 0:
        requests(w, request.older).newer = request.newer
    site.queued -= 1


@native
def list_all(w: int) -> None:
    """List those who wait and the pods with a queue that a run begins with."""
    for s in range(world(w).site):
        sites(w, s).newest, sites(w, s).queued = -1, 0
    for m in range(world(w).model):
        models(w, m).hosts = 0
    for n in range(world(w).node):
        for k in range(nodes(w, n).queues):
            m = queued(w, n, k).model
            host(w, n, m)
            r = pods(w, n, m).first
            while r >= 0:
                join(w, r)
                r = requests(w, r).next


@native
def host(w: int, n: int, m: int) -> None:
    """List a node among those that have a pod of a model with a queue."""
    k = models(w, m).hosts
    while k > 0 and hosts(w, m, k - 1).node > n:
        hosts(w, m, k).node = hosts(w, m, k - 1).node
        k -= 1
    hosts(w, m, k).node = n
    models(w, m).hosts += 1


@native
def unhost(w: int, n: int, m: int) -> None:
    """List it there no longer."""
    models(w, m).hosts -= 1
    k = 0
    while hosts(w, m, k).node != n:
        k += 1
    for j in range(k, models(w, m).hosts):
        hosts(w, m, j).node = hosts(w, m, j + 1).node


@native
def next_up(w: int, n: int, m: int) -> int:
    """Return whom a pod serves next where late requests yield: `policy.yielding`."""
    pod, model, now_s = pods(w, n, m), models(w, m), world(w).now_s
    others = nodes(w, n).busy - (pod.running > 0)
    service_s = model.work_s * (others + 1) * (pod.running + 1) / nodes(w, n).learned
    on_time_from_s = now_s + service_s - model.deadline_s
    oldest, timely = pod.first, -1
    r = pod.first
    while r >= 0:
        if earlier(w, r, oldest):
            oldest = r
        if requests(w, r).entered_at_s >= on_time_from_s and (timely < 0 or earlier(w, r, timely)):
            timely = r
        r = requests(w, r).next
    if timely < 0 or requests(w, oldest).entered_at_s < now_s - world(w).patience_s:
        return int(oldest)
    return int(timely)


@native
def earlier(w: int, r: int, other: int) -> bool:
    """Tell whether a request came to its ingress before another one; of those that came together the first sent."""
    mine_s, its_s = requests(w, r).entered_at_s, requests(w, other).entered_at_s
    return bool(mine_s < its_s or (mine_s == its_s and r < other))


@native
def pump(w: int, n: int, m: int) -> None:
    """Begin to serve those for whom a pod has a place, and foretell the next end."""
    node, pod = nodes(w, n), pods(w, n, m)
    now_s, most = world(w).now_s, models(w, m).concurrency
    while pod.phase == READY and pod.waiting > 0 and pod.running < most:
        work_on(w, n)
        r = next_up(w, n, m) if world(w).yielding else pod.first
        withdraw(w, n, m, r)
        count_up(w, n)
        place = places(w, n, m, pod.running)
        place.request, place.left_s, place.began_s = r, requests(w, r).work_s, pod.given_s
        node.busy += pod.running == 0
        pod.running += 1
        pod.used_at_s = now_s
        node.version += 1
        requests(w, r).place = RUNNING
    foretell(w, n)


@native
def take_out(w: int, n: int, m: int, r: int) -> float:
    """Take a request out of a pod that has served it; return what it was given by the account."""
    node, pod = nodes(w, n), pods(w, n, m)
    k = 0
    while places(w, n, m, k).request != r:
        k += 1
    given_s = pod.given_s - places(w, n, m, k).began_s
    pod.running -= 1
    node.busy -= pod.running == 0
    for j in range(k, pod.running):
        here, behind = places(w, n, m, j), places(w, n, m, j + 1)
        here.request, here.left_s, here.began_s = behind.request, behind.left_s, behind.began_s
    return float(given_s)


@native
def served(w: int, n: int, m: int, r: int) -> None:
    """Have done a request; it teaches how fast the node is."""
    node, rules = nodes(w, n), world(w)
    work_on(w, n)
    count_up(w, n)
    given_s = take_out(w, n, m, r)
    pods(w, n, m).used_at_s = world(w).now_s
    ratio = models(w, m).work_s / given_s if given_s > 0.0 else rules.speed_clip_high
    node.learned *= math.pow(min(max(ratio, rules.speed_clip_low), rules.speed_clip_high), rules.speed_gain)
    node.version += 1


@native
def foretell(w: int, n: int) -> None:
    """Enter who ends next on a node, if that may have changed."""
    node = nodes(w, n)
    if node.version == node.foretold:
        return
    node.foretold = node.version
    due_s, found = math.inf, False
    only, sharing = -1, node.busy
    if node.pausing and node.busy > 0:
        only, sharing = runner(w, n), 1
    for k in range(node.queues):
        m = queued(w, n, k).model
        running = pods(w, n, m).running
        if running == 0 or (only >= 0 and m != only):
            continue
        first = places(w, n, m, 0)
        r, left_s = first.request, first.left_s
        for j in range(1, running):
            other = places(w, n, m, j)
            if other.left_s < left_s or (other.left_s == left_s and other.request < r):
                r, left_s = other.request, other.left_s
        at_s = node.at_s + max(left_s, 0.0) * (sharing * running) / node.speed
        if not found or at_s < due_s:
            due_s, found = at_s, True
            node.due_model, node.due_request = m, r
    if found:
        enter(w, due_s, ENDED, n, node.version)
