"""What a browser keeps of several tabs: none overwrites what was said in another; and a tab that is closed in the
middle of a reply gives up the request."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from test_web_chat import house_of, well_formed

from thinkling.generate.language_model import LanguageModel
from thinkling.serve.reply import Reply
from thinkling.serve.web import shelf as shelves
from thinkling.serve.web.actions import Fields
from thinkling.serve.web.answering import Controls
from thinkling.serve.web.page import cleared, kept, opened, run
from thinkling.serve.web.session import Session
from thinkling.serve.web.shelf import Shelf, browser_of, merged, without
from thinkling.serve.web.tree import ROOT, Tree, loaded


def ways(tree: Tree) -> set[tuple]:
    """All that was said, each with what led there."""
    return {tuple(turn.said or turn.reply.answer for turn in tree.up_to(id)) for id in tree.turns}


def shown(tree: Tree) -> list[str]:
    return [turn.said or turn.reply.answer for turn in tree.path]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Few words, so that two trees have much in common."""
    tree = Tree()
    for _ in range(draw(st.integers(0, 8))):
        parent = draw(st.sampled_from([ROOT, *tree.turns]))
        word = draw(st.sampled_from("ab"))
        asks = parent == ROOT or tree.turns[parent].reply is not None
        tree = tree.add(parent, said=word) if asks else tree.add(parent, reply=Reply(answer=word), model=word)
    return tree


@settings(max_examples=80)
@given(trees(), trees())
def test_two_tabs_together(mine: Tree, other: Tree) -> None:
    """All of both is there and nothing else, mine is shown, no turn of mine is changed; and it can be taken away."""
    both = merged(mine, other)
    well_formed(both)
    assert ways(both) == ways(mine) | ways(other) and shown(both)[: len(shown(mine))] == shown(mine)
    assert mine.turns.items() <= both.turns.items() and mine.chosen.items() <= both.chosen.items()
    assert merged(both, other) == both and loaded(json.loads(json.dumps(both.saved()))) == both
    left = without(both, mine)
    well_formed(left)
    assert ways(other) - ways(mine) <= ways(left) <= ways(other)
    assert without(both, both) == without(other, both) == Tree()


def test_what_is_too_long_for_a_browser_is_not_put_together() -> None:
    long = "x" * (shelves.MOST_TEXT // 2 + 1)
    one, two = Tree().add(ROOT, said=long), Tree().add(ROOT, said="y" + long)
    assert merged(one, two) == one and len(merged(one, one).turns) == 1


def test_the_longest_unused_browser_is_forgotten() -> None:
    shelf, tree = Shelf(), Tree().add(ROOT, said="a")
    for number in range(shelves.MOST_BROWSERS + 1):
        shelf.put(f"b{number}", tree)
    assert len(shelf.trees) == shelves.MOST_BROWSERS and "b0" not in shelf.trees
    assert shelf.put("b1", Tree()) == tree and shelf.put("b0", Tree()) == Tree()


def test_without_a_name_nothing_is_shared() -> None:
    shelf = Shelf()
    one, two = Tree().add(ROOT, said="a"), Tree().add(ROOT, said="b")
    assert shelf.put("", one) == one and shelf.put("", two) == two
    shelf.take_away("", one)
    assert not shelf.trees


def test_a_browser_names_itself_by_what_it_was_given() -> None:
    names = {browser_of(saved) for saved in (None, {}, {"browser": 5}, {"browser": "../x"}, [], {"browser": "a" * 44})}
    assert len(names) == 6
    name = names.pop()
    assert browser_of({"browser": name}) == name


def test_two_tabs_of_one_browser_and_another_browser(tiny: LanguageModel) -> None:
    house = house_of(tiny)

    def tab(storage: dict | None) -> Session:
        session = Session(house.names)
        opened(house, session, storage)
        return session

    def say(session: Session, text: str) -> dict:
        session.tree = session.tree.add(ROOT, said=text)
        session.tree = session.tree.add(session.tree.next_id - 1, reply=Reply(answer=f"to {text}"))
        return json.loads(json.dumps(kept(house, session)))  # the browser's one place, written whole

    one = tab(None)
    storage = say(one, "a")
    two = tab(storage)
    storage = say(two, "b")
    storage = say(one, "c")  # this tab has never seen b
    assert one.browser == two.browser and shown(one.tree) == ["c", "to c"] and "b" not in str(ways(one.tree))
    assert ways(tab(storage).tree) >= {("a", "to a"), ("b", "to b"), ("c", "to c")}
    stranger = tab(None)
    assert stranger.browser != one.browser and stranger.tree == Tree() and say(stranger, "z") != storage
    cleared(house, two)
    assert two.tree == Tree() and two.browser == one.browser
    assert ways(tab(kept(house, two)).tree) == {("c",), ("c", "to c")}  # a and b were on the page that was cleared
    house.shelf.trees.clear()  # the server was started again
    assert ways(tab(storage).tree) >= {("a", "to a"), ("b", "to b"), ("c", "to c")}


def test_a_tab_that_is_closed_gives_up_its_reply(tiny: LanguageModel) -> None:
    """Nobody looks any more, so only `stop` is called; what was said until then is there when it is opened again."""
    own, steps = tiny.engine.step, []
    tiny.engine.step = lambda: steps.append(1) or own()

    async def test() -> None:
        house = house_of(tiny)
        house = replace(house, sampling=replace(house.sampling, max_tokens=450))
        session = Session(("tiny",), ("tiny",))
        opened(house, session, None)
        async with aclosing(run(house, session, "send", ROOT, Fields(text="2?"), Controls(house.sampling))) as seen:
            async for _ in seen:
                if session.tree.turns[2].reply.num_tokens:
                    break
            session.stop()
            drawn = len(steps)
            tiny.engine_thread.cancel([], wait=True)  # what was ordered before it has been done
            await asyncio.to_thread(tiny.engine_thread.wait_until_idle)
            assert len(steps) - drawn <= 2 < 400 - drawn
        assert not session.live and house.hosted["tiny"].desk.taken == 0
        again = Session(("tiny",))
        opened(house, again, {"browser": session.browser, **Tree().saved()})
        assert again.tree.turns[2].reply == session.tree.turns[2].reply and again.tree.turns[2].reply.stopped

    asyncio.run(test())
