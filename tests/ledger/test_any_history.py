"""Whatever happened before: one run completes the store, and the next has nothing to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.simulated import Site, box, key, md5, said

PATHS = st.sampled_from(["a.jpg", "b.jpg", "f/a.png"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, st.sampled_from(["one", "two", "three", "broken", "huge", ""])),
        st.tuples(st.just("annotate"), PATHS, st.integers(0, 2)),
        st.tuples(st.just("lose"), st.integers(0, 20), st.booleans()),
        st.tuples(st.just("run"), st.sampled_from(["publish", "refuse", "die"]), st.sampled_from([0, 1, 9])),
        st.tuples(
            st.just("set"), st.sampled_from(["thumbnails", "crops", "full_check", "deliver_undecodable"]), st.none()
        ),
    ),
    max_size=8,
)


@settings(max_examples=12)
@given(steps=STEPS)
def test_whatever_came_before_one_run_completes_the_store_and_the_next_has_nothing_to_do(
    steps: list[tuple[str, object, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    site.write("a.jpg", "first")
    for step, what, how in steps:
        act(site, step, what, how)
    run = site.deliver()
    images = [path for path, status in run.status.items() if status.split()[0] in ("delivered", "unchanged")]
    assert {key("images", path) for path in images} <= site.store.keys()
    assert all(site.store[row.key].etag == row.etag for row in run.rows if row.status in ("delivered", "unchanged"))
    assert run.counts.failed == 0
    again = site.deliver()
    assert (again.plan.work, again.sent, again.counts.planned) == (0, [], run.counts.planned)
    assert {row.key for row in again.rows} == {row.key for row in run.rows}


def act(site: Site, step: str, what: object, how: object) -> None:
    if step == "write":
        site.write(str(what), str(how))
    elif step == "annotate":
        others = [item for item in site.annotations if item.reference != what]
        site.annotations = others + said(str(what), *(box(x=x) for x in range(int(str(how)))))
    elif step == "lose" and site.store:
        name = sorted(site.store)[int(str(what)) % len(site.store)]
        lost = site.store.pop(name)
        if how:
            site.store[name] = replace(lost, etag=md5("other"))
    elif step == "set":
        site.wanted = replace(site.wanted, **{str(what): not getattr(site.wanted, str(what))})
    elif step == "run":
        run = site.run()
        run.work(batches=int(str(how)))
        run.prove()
        getattr(run, str(what))()
