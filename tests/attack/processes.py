"""Two processes on one collection, begun together, one of them perhaps stopped or killed at some moment."""

import json
import signal

import semsearch
from attack.arena import COUNT, TEXTS, documents, owned
from attack.children import together

FAMILY = "two-process interleavings"
SHARE = 16
MINE = {0: "c", 1: "d"}  # prefixes of what each adds


def add(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        collection.add(documents(MINE[who], 12))


def add_from(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        collection.add_from(write(place, who, 12))


def sync(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        collection.add_from(write(place, who, 6))
        write(place, who, 12)
        collection.sync()


def write(place, who, count):
    path = place / f"corpus-{who}.jsonl"
    lines = [
        json.dumps({"id": d.id, "text": d.text, "title": d.title, "n": d.metadata["n"]})
        for d in documents(MINE[who], count)
    ]
    path.write_text("\n".join(lines))
    return path


def remove(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        collection.remove([f"b{who * 10 + number}" for number in range(10)])


def update_metadata(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        collection.update_metadata([f"b{20 + who * 5 + number}" for number in range(5)], {"n": 1000 + who})


def reindex(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        collection.reindex("exact" if who else None)


def compact(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        collection.compact()


def reencode(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        collection.reencode(str(place.parent / "other-model"))


def backup(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        collection.backup(place / f"backup-{who}")


def restore(home, who, place):
    semsearch.restore(place / "docs.backup", "again", home=home)


def drop_and_recreate(home, who, place):
    semsearch.drop(TEXTS, home=home)
    with semsearch.create(TEXTS, home=home, encoder=str(place.parent / "model")) as collection:
        collection.add(documents("r", 12))


def search(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        for number in range(30):
            for hit in collection.search(f"b{number} word{number}", 3):
                if not owned(hit.id, hit.text):
                    return f"the hit {hit.id} has the text {hit.text!r}"
    return None


def iterate(home, who, place):
    with semsearch.open(TEXTS, home=home) as collection:
        for document in collection:
            if not owned(document.id, document.text):
                return f"the document {document.id} has the text {document.text!r}"
    return None


OPERATIONS = (
    *(add, add_from, sync, remove, update_metadata, reindex, compact),
    *(reencode, backup, restore, drop_and_recreate, search, iterate),
)


def effects(operation, who):
    """The documents that an operation leaves otherwise, each as [text, n] or None."""
    if operation in (add, add_from, sync):
        return {d.id: [d.text, d.metadata["n"]] for d in documents(MINE[who], 12)}
    if operation is remove:
        return {f"b{who * 10 + number}": None for number in range(10)}
    if operation is update_metadata:
        changed = documents("b", COUNT)[20 + who * 5 : 25 + who * 5]
        return {d.id: [d.text, 1000 + who] for d in changed}
    return {}


def attack(case):
    """Let two operations meet, and judge what is there afterwards."""
    pair = [case.rng.choice(OPERATIONS) for _ in range(2)]
    disturbance = case.rng.choice(("none", "none", "none", "none", "stop", "stop", "kill", "kill", "kill"))
    victim, moment = case.rng.randrange(2), case.rng.uniform(0.0, 0.4)
    case.note(f"{pair[0].__name__} beside {pair[1].__name__}, {disturbance} number {victim} after {moment:.2f} s")
    children = together(lambda who, gate: case.start(pair[who], case.home, who, case.place, gate=gate), 2)
    if disturbance != "none":
        children[victim].pause(moment)
        children[victim].signal(signal.SIGKILL if disturbance == "kill" else signal.SIGSTOP)
    ended = {1 - victim: children[1 - victim].wait(30)}
    children[victim].signal(signal.SIGCONT)
    ended[victim] = children[victim].wait(60)
    for who in (0, 1):
        case.judge(ended[who])
        if ended[who].answer:
            case.problems.append(ended[who].answer)
    judge_documents(case, pair, [ended[who].code == 0 for who in (0, 1)])
    judge_copies(case, pair, [ended[who].code == 0 for who in (0, 1)])


def judge_documents(case, pair, acknowledged):
    """What was acknowledged is there, what was not is there whole or not at all, and nothing else is."""
    allowed = {d.id: [[d.text, d.metadata["n"]]] for d in documents("b", COUNT)}
    for who in (0, 1):
        for key, new in effects(pair[who], who).items():
            allowed[key] = [new] if acknowledged[who] else [*allowed.get(key, [None]), new]
    if drop_and_recreate in pair:
        allowed = {key: [*states, None, *original(key)] for key, states in allowed.items()}
        sure = all(done for done, operation in zip(acknowledged, pair, strict=True) if operation is drop_and_recreate)
        allowed |= {d.id: [[d.text, d.metadata["n"]], *([] if sure else [None])] for d in documents("r", 12)}
        if not sure and TEXTS not in semsearch_names(case):
            return
    there = case.look()
    if there is None:
        case.problems.append("the collection can't be read any more")
        return
    strangers = there.keys() - allowed.keys()
    wrong = [key for key, states in allowed.items() if there.get(key) not in states]
    if strangers:
        case.problems.append(f"documents that nobody put in: {sorted(strangers)[:5]}")
    if wrong:
        case.problems.append(
            f"{len(wrong)} are not as acknowledged: {wrong[0]} is {there.get(wrong[0])}, not of {allowed[wrong[0]]}"
        )
    case.sound()


def original(key):
    return [[d.text, d.metadata["n"]] for d in documents("b", COUNT) if d.id == key]


def semsearch_names(case):
    ended = case.call(names, case.home)
    return ended.answer or []


def names(home):
    return list(semsearch.list_collections(home=home))


def judge_copies(case, pair, acknowledged):
    """A backup or a restored collection that was acknowledged is whole."""
    if restore in pair and any(
        done for done, operation in zip(acknowledged, pair, strict=True) if operation is restore
    ):
        case.whole("again")
    for who in (0, 1):
        if pair[who] is backup and acknowledged[who]:
            ended = case.call(restored, case.home, case.place / f"backup-{who}", f"copy-{who}")
            if ended.code:
                case.problems.append("an acknowledged backup can't be restored")
            else:
                case.look(f"copy-{who}")


def restored(home, file, name):
    semsearch.restore(file, name, home=home)
