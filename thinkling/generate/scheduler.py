"""Which requests run: those that wait join as rows fall free, and leave when they are done or cancelled. Clients take
turns; the requests of one client join in order.

A running request's row is its place in `running`, so the rows in use are always the first ones and no pass gathers
memory. A step reads so many tokens at most: one of each request that decodes, and as much of the prompts as the budget
then allows. Of that a long prompt leaves half to shorter ones. Where requests grow and the memory no longer suffices,
the newest makes way: it waits again, before all others of its client, with the tokens it has. The oldest never makes
way, so everyone comes to an end. Here are no tensors: those of a row are runner.py's. Left out: priorities.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass, field

from thinkling.generate.completion import Completion, columns
from thinkling.generate.guesses import Guesses
from thinkling.generate.memory import Memory
from thinkling.generate.sampling import Sampling
from thinkling.generate.thinking_budget import ThinkingBudget


@dataclass(frozen=True, slots=True)
class Told:
    """How likely the model itself found a token: at temperature 1, before penalties and cuts, in nats.

    top: the likeliest tokens in its place with theirs, the likeliest first.
    """

    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(eq=False)
class Request:
    """A prompt to complete: what was asked for, and what there is so far.

    on_token: sees each token as it is drawn, in the engine's thread; a true value ends the request.
    tell: how many of the likeliest tokens `told` has of each place beside the drawn one; None keeps no `told`.
    client: who asks, where several do; see Queue.
    forced: tokens that come next whatever is drawn, such as those that close thinking whose budget is spent.
    budget: of its thinking, where that has one; it puts tokens into `forced`.
    guesses: tokens that were read behind the last one, in case they come next (guesses.py); repeats: where they come
    from. numbers: random ones that were drawn ahead.
    row: in the cache, while it runs. siblings: the running requests of the same prompt, itself among them.
    read: how much of what it holds has been read, until it decodes.
    error: why it cannot go on.
    """

    id: int
    prompt: tuple[int, ...]
    sampling: Sampling
    on_token: Callable[[int], object] | None
    uniforms: Iterator[float]
    tell: int | None = None
    client: Hashable = None
    budget: ThinkingBudget | None = None
    row: int = -1
    read: int = 0
    siblings: list["Request"] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    measured: list[list[float]] = field(default_factory=list)  # a row of sampling.measure per token
    sampling_mask: list[tuple[int, ...]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    forced: deque[int] = field(default_factory=deque)
    guesses: list[int] = field(default_factory=list)
    repeats: Guesses | None = None
    numbers: deque[float] = field(default_factory=deque)
    seconds: float = 0.0
    error: Exception | None = None

    @property
    def length(self) -> int:
        """Of prompt and completion so far, in tokens."""
        return len(self.prompt) + len(self.tokens)

    @property
    def unread(self) -> int:
        return self.length - self.read

    @property
    def reads_itself(self) -> bool:
        """Must it read its tokens, or does another row read its prompt?"""
        return self.siblings[0] is self or bool(self.tokens)

    def uniform(self, ahead: int) -> float:
        """The random number of the next token, or of one so far ahead of it."""
        while len(self.numbers) <= ahead:
            self.numbers.append(next(self.uniforms))
        return self.numbers[ahead]

    def take(self, token: int, logprob: float) -> None:
        """Grow by one token."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        self.numbers.popleft()
        if self.budget is not None:
            self.forced.extend(self.budget.push(token))
        if self.repeats is not None:
            self.repeats.push(token)

    def guess(self, most: int) -> None:
        """Guess at most so many tokens, none beyond the end, and none where one is forced."""
        most = min(most, self.sampling.max_tokens - len(self.tokens) - 1)
        if self.repeats is None and most > 0:
            self.repeats = Guesses([*self.prompt, *self.tokens])
        self.guesses = self.repeats.next(most) if most > 0 and not self.forced else []

    def completion(self, reason: str) -> Completion:
        measured = columns(self.measured) if self.sampling.measure else {}
        return Completion(self.prompt, tuple(self.tokens), tuple(self.logprobs), reason, seconds=self.seconds,
                          sampling_mask=tuple(self.sampling_mask), **measured)  # fmt: skip


class Queue:
    """Requests that wait. Next is the client with the fewest rows in the batch; of several, the one that has waited
    longest for its turn. So a client with many requests keeps none waiting that has one, and requests of a single
    client come in order."""

    def __init__(self) -> None:
        self._of: dict[Hashable, deque[Request]] = {}  # of each client that waits; who was served goes to the end

    def __bool__(self) -> bool:
        return bool(self._of)

    def append(self, request: Request) -> None:
        self._of.setdefault(request.client, deque()).append(request)

    def put_back(self, request: Request) -> None:
        """One that ran, or was to: it is next."""
        own = self._of.pop(request.client, deque())
        own.appendleft(request)
        self._of = {request.client: own} | self._of

    def pop(self, running: Counter[Hashable], may: Callable[[Request], bool]) -> Request | None:
        """The next one that may run. running: the rows of each client."""
        clients = [client for client, own in self._of.items() if may(own[0])]
        if not clients:
            return None
        client = min(clients, key=lambda client: running[client])
        own = self._of.pop(client)
        request = own.popleft()
        if own:
            self._of[client] = own
        return request

    def drop(self, request_ids: Collection[int]) -> None:
        kept = {client: deque(request for request in own if request.id not in request_ids)
                for client, own in self._of.items()}  # fmt: skip
        self._of = {client: own for client, own in kept.items() if own}

    def clear(self) -> None:
        self._of.clear()


class Scheduler:
    """A queue, and the requests that run, as many as fit into `memory`: first those that decode, then those whose
    prompt is being read. budget: tokens that one step reads at most. room: tokens that each row holds now."""

    def __init__(self, memory: Memory, budget: int) -> None:
        self.memory, self.room, self.budget = memory, memory.first_room, budget
        self.waiting = Queue()
        self.running: list[Request] = []
        self.num_decoding = 0
        self._of_prompt: dict[tuple[int, ...], list[Request]] = {}  # of each prompt, the requests that run

    @property
    def decoding(self) -> list[Request]:
        return self.running[: self.num_decoding]

    @property
    def prefilling(self) -> list[Request]:
        return self.running[self.num_decoding :]

    def admit(self) -> list[Request]:
        """Those that join the batch now: as many as there is memory for and prompts can be read of, this step. Long
        prompts are hashed here and when they end, never once a step."""
        first_new = len(self.running)
        if not self.waiting or first_new == self.memory.max_rows:
            return []
        rows, longest = Counter(request.client for request in self.running), self.longest
        wanted = sum(min(request.unread, self.budget // 2) for request in self._readers())
        while wanted < self._for_prompts and (request := self.waiting.pop(rows, self._may_join)) is not None:
            longest = max(longest, request.length + 1)
            room = self._room_for_one_more(longest)
            if room is None:
                self.waiting.put_back(request)
                break
            self.room = room
            rows[request.client] += 1
            request.row, request.read = len(self.running), 0
            self.running.append(request)
            request.siblings = self._of_prompt.setdefault(request.prompt, [])
            request.siblings.append(request)
            wanted += min(request.unread, self.budget // 2) if request.reads_itself else 0
        return self.running[first_new:]

    @property
    def _for_prompts(self) -> int:
        """Tokens that a step leaves to prompts: each row may decode one. Prompts are read, however many decode."""
        return max(self.budget - len(self.running), 1)

    def _is_long(self, request: Request) -> bool:
        return request.unread > self.budget // 2

    def _readers(self) -> list[Request]:
        """Those that read their own prompts: short ones in the order in which they came, then long ones."""
        readers = [request for request in self.prefilling if request.reads_itself]
        return sorted(readers, key=lambda request: (self._is_long(request), request.id))

    def _may_join(self, request: Request) -> bool:
        """One long prompt is read at a time; meanwhile those of other clients may pass the next."""
        return not (self._is_long(request) and any(map(self._is_long, self._readers())))

    def shares(self) -> dict[Request, int]:
        """How many tokens of its prompt each request reads in this step. A long one leaves half to the short ones, and
        the short ones half to it, if they need it."""
        readers, left, shares = self._readers(), self._for_prompts, {}
        kept = -(-left // 2) if readers and self._is_long(readers[-1]) else 0
        for request in readers:
            share = min(request.unread, left - (0 if self._is_long(request) else kept))
            left -= share
            shares[request] = share
        return {request: share for request, share in shares.items() if share}

    def is_read(self, request: Request) -> bool:
        """Has its prompt been read, by itself or by another sample of it?"""
        return not request.unread if request.reads_itself else request.siblings[0].row < self.num_decoding

    def begin(self, request: Request) -> tuple[int, int] | None:
        """It has been read, and decodes from now on. Returns the two rows that change places, if any do."""
        old, new = request.row, self.num_decoding
        self.num_decoding += 1
        other = self.running[new]
        self.running[old], self.running[new] = other, request
        other.row, request.row = old, new
        return (old, new) if old != new else None

    @property
    def longest(self) -> int:
        return max((one.length + len(one.guesses) for one in self.running), default=0)  # guesses are read, too

    def _room_for_one_more(self, longest: int) -> int | None:
        """How long rows are when there is one more, and the longest has so many tokens; None if memory does not
        suffice. Rows are made shorter only if a step is to spare, else they would soon have to be longer again."""

        def fits(room: int) -> bool:
            return len(self.running) < self.memory.rows(room)

        if longest <= self.room and fits(self.room):
            return self.room
        room = self.memory.room(longest + (self.memory.step if longest <= self.room else 0))
        return room if fits(room) else None

    def crowded_out(self) -> Request | None:
        """Before each row reads the token it has drawn: who must make way for that. None if everyone fits, in rows that
        may have become longer."""
        longest = self.longest
        room = self.room if longest <= self.room else self.memory.room(longest)
        if len(self.running) > self.memory.rows(room):
            return max(self.running, key=lambda request: request.id)
        self.room = room
        return None

    def remove(self, request: Request) -> list[tuple[int, int]]:
        """End a running request. Its gap is filled by the last that decodes, and that one's by the last row of all.
        Returns which rows move, in order: from where, and to where."""
        request.siblings.remove(request)
        if not request.siblings:
            known = self._of_prompt.pop(request.prompt, request.siblings)
            if known is not request.siblings:  # of those that have come since `part_siblings`
                self._of_prompt[request.prompt] = known
        gap, moves = request.row, []
        lasts = [len(self.running) - 1]
        if gap < self.num_decoding:
            self.num_decoding -= 1
            lasts.insert(0, self.num_decoding)
        for last in lasts:
            if last != gap:
                self.running[gap] = self.running[last]
                self.running[gap].row = gap
                moves.append((last, gap))
            gap = last
        self.running.pop()
        return moves

    def part_siblings(self) -> None:
        """Who joins from now on is no sibling of those that run."""
        self._of_prompt.clear()

    def forget(self, request_ids: Collection[int]) -> list[Request]:
        """Drop those that wait; returns those that run, for the caller to remove."""
        self.waiting.drop(request_ids)
        return [request for request in self.running if request.id in request_ids]

    def clear(self) -> None:
        self.waiting.clear()
        self.running.clear()
        self.num_decoding = 0
        self._of_prompt.clear()
