"""One-line faults for the kernel, each of which the tests must notice. One table, so one long file.

``old`` occurs exactly once in its file; when the kernel changes so that it no longer does, the
mutant is to be written anew, not dropped.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Mutant:
    """A fault: in ``file``, ``old`` becomes ``new``.

    Attributes:
        why: What the fault does, in a line.
        equivalent: Why no test can notice it; empty for one that must be caught.
        sample: Whether it is in the quick sample that every test run tries.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    equivalent: str = ""
    sample: bool = False


MAILBOX = [
    Mutant(
        "capacity-off-by-one",
        "_mailbox.py",
        "        return self.depth < self.spec.capacity and (",
        "        return self.depth <= self.spec.capacity and (",
        "one message more than the capacity fits",
    ),
    Mutant(
        "fast-path-capacity-off-by-one",
        "_mailbox.py",
        "if ring is not None and (depth := len(ring)) < self._quick_max:",
        "if ring is not None and (depth := len(ring)) <= self._quick_max:",
        "the fast path lets one message more in",
        sample=True,
    ),
    Mutant(
        "bytes-off-by-one",
        "_mailbox.py",
        "self._bytes + envelope.size_bytes <= bytes_max\n        )",
        "self._bytes <= bytes_max\n        )",
        "the bound in bytes does not count the newcomer",
    ),
    Mutant(
        "bytes-not-given-back",
        "_mailbox.py",
        "            self._bytes -= envelope.size_bytes",
        "            self._bytes -= 0",
        "a taken message still counts",
    ),
    Mutant(
        "newcomer-overtakes-the-line",
        "_mailbox.py",
        "        if not self._line and self._fits(envelope):",
        "        if self._fits(envelope):",
        "a sender that comes later goes before those who wait",
    ),
    Mutant(
        "fast-path-for-all",
        "_mailbox.py",
        "(depth := len(ring)) < self._quick_max:",
        "(depth := len(ring)) < self.spec.capacity:",
        "the fast path ignores bytes, the line and conflation",
    ),
    Mutant(
        "line-forgets-who-left",
        "_mailbox.py",
        "            del self._line[task]\n            self._admit()",
        "            self._admit()",
        "a cancelled sender stays in line and is rescheduled twice",
    ),
    Mutant(
        "line-not-looked-at-when-one-leaves",
        "_mailbox.py",
        "            self._admit()  # the one that left may have been all that held up the line\n",
        "",
        "a large message that leaves holds up the small ones behind it",
    ),
    Mutant(
        "admit-only-one",
        "_mailbox.py",
        "            trio.lowlevel.reschedule(task)\n\n    # -- taking",
        "            trio.lowlevel.reschedule(task)\n            return\n\n    # -- taking",
        "room for two lets one in",
    ),
    Mutant(
        "close-forgets-the-line",
        "_mailbox.py",
        "            envelope.refused = True\n            trio.lowlevel.reschedule(task)",
        "            envelope.refused = True",
        "who stands in line at a closed mailbox is never woken",
    ),
    Mutant(
        "closed-line-counts-as-accepted",
        "_mailbox.py",
        "            envelope.refused = True\n",
        "",
        "a sender in line at a closed mailbox believes it was accepted",
    ),
    Mutant(
        "close-drops-what-waits",
        "_mailbox.py",
        "        left = list(self.ring or ())",
        "        left = list(self.ring or ())[1:]",
        "the oldest message at a stop has no outcome",
        sample=True,
    ),
    Mutant(
        "drop-oldest-drops-newest",
        "_mailbox.py",
        "        envelope = self.ring.popleft()",
        "        envelope = self.ring.pop()",
        "the newest is taken first",
    ),
    Mutant(
        "conflate-keeps-the-old-key",
        "_mailbox.py",
        "                del self._latest[key]",
        "                pass",
        "a message that was taken can still be replaced",
    ),
    Mutant(
        "conflate-ignores-bytes",
        "_mailbox.py",
        "            and self._bytes - older.size_bytes + envelope.size_bytes > bytes_max",
        "            and self._bytes - older.size_bytes > bytes_max",
        "replacing by a larger message breaks the bound in bytes",
    ),
]

SETTLING = [
    Mutant(
        "replaced-is-not-buried",
        "_cell.py",
        "        for each in dropped:\n            self._bury_dropped(each, envelope)\n",
        "",
        "what is pushed out has no outcome",
    ),
    Mutant(
        "no-demand",
        "_cell.py",
        "        if activation is None:\n            self.supervisor.demand(self)\n        elif",
        "        if",
        "a message to a sleeping address wakes nobody",
    ),
    Mutant(
        "lost-wake-up",
        "_cell.py",
        "        elif activation.parked is not None:\n            activation.wake()",
        "        elif activation.parked is not None and self.mailbox.depth > 1:\n"
        "            activation.wake()",
        "the first message does not wake the receiver",
    ),
    Mutant(
        "line-does-not-rouse",
        "_cell.py",
        "                end_wait(waiter, place)\n        self.rouse()",
        "                end_wait(waiter, place)",
        "a message let in from the line does not wake the receiver",
        equivalent="Who makes room is the receiver itself, which is awake, or a sender that drops "
        "or leaves; then the mailbox still holds something, so that the receiver is parked only at "
        "its concurrency or suspended, and the end of that wakes it.",
    ),
    Mutant(
        "control-not-heard",
        "_cell.py",
        "            self.activation.alerted = True\n",
        "",
        "control waits for the next alert",
    ),
    Mutant(
        "asker-not-told-of-a-burial",
        "_cell.py",
        '        self.settle(envelope, "dead", error)',
        "        self.dead_count += 1",
        "the asker of a message that died waits for ever",
    ),
    Mutant(
        "skipped-counts-as-dead",
        "_cell.py",
        '            self.settle(envelope, "skipped", error)\n            return\n',
        '            self.settle(envelope, "skipped", error)\n',
        "a message whose asker left gets two outcomes at a stop",
    ),
    Mutant(
        "late-replies-not-counted",
        "_cell.py",
        "            self.system.late_replies += exchange.late",
        "            self.system.late_replies += 0",
        "a second answer goes unnoticed",
        sample=True,
    ),
    Mutant(
        "stop-not-bounded",
        "_cell.py",
        "                activation.scope.deadline, trio.current_time() + self.spec.shutdown_seconds",
        "                activation.scope.deadline, trio.current_time() + 1e9",
        "a stop waits for what is handled without bound",
    ),
    Mutant(
        "terminated-twice",
        "_cell.py",
        "        watchers, self.watchers = self.watchers, None",
        "        watchers = [*(self.watchers or ()), *(self.watchers or ())]",
        "a watcher is told twice",
    ),
    Mutant(
        "watchers-not-told",
        "_cell.py",
        "            watcher.tell_terminated(self, reason)",
        "            pass",
        "nobody is told of an end",
    ),
    Mutant(
        "watches-survive-a-restart",
        "_cell.py",
        "            target.unwatch(self)\n        if",
        "            pass\n        if",
        "a fresh instance is told of what it never watched",
    ),
]

ACTIVATION = [
    Mutant(
        "passivation-not-called-off",
        "_activation.py",
        '            if self.stop_reason == "passivated" and not cell.quiet:',
        '            if self.stop_reason == "passivated" and cell.quiet:',
        "an actor goes to sleep only if something came",
    ),
    Mutant(
        "concurrency-off-by-one",
        "_activation.py",
        "            if not mailbox.ring or self._deferred >= concurrency:",
        "            if not mailbox.ring or self._deferred > concurrency:",
        "one deferred handling more than allowed",
    ),
    Mutant(
        "deadline-not-reset",
        "_activation.py",
        "                if self._armed != NEVER:\n"
        "                    self._handling.deadline = self._armed = NEVER\n"
        "                cell.inline",
        "                cell.inline",
        "a tell is interrupted by the deadline of the ask before it",
    ),
    Mutant(
        "scope-not-renewed",
        "_activation.py",
        "        return exchange.abandoned\n",
        "        return False\n",
        "the message after a cancelled ask is cancelled too",
    ),
    Mutant(
        "cancel-swallowed",
        "_activation.py",
        "                    self._settle_tell(envelope, None)\n                    raise",
        "                    self._settle_tell(envelope, None)",
        "a handler's Cancelled is not raised on",
    ),
    Mutant(
        "interrupted-tell-not-settled",
        "_activation.py",
        "                    self._settle_tell(envelope, None)\n",
        "",
        "a killed handling has no outcome",
    ),
    Mutant(
        "suspension-not-seen",
        "_activation.py",
        "            elif cell.suspended:\n                await self.park()\n",
        "",
        "suspend does nothing",
    ),
    Mutant(
        "fresh-activation-not-alerted",
        "_activation.py",
        "        self.alerted = True\n        self.task:",
        "        self.alerted = False\n        self.task:",
        "control that came while nothing ran is left in the lane",
    ),
    Mutant(
        "control-loop-stops-early",
        "_activation.py",
        "                self.alerted = True  # until the lane is seen to be empty\n",
        "",
        "a cancel during control loses sight of the rest of the lane",
        equivalent="on_control runs in the activation's own scope and in a handling scope whose "
        "deadline was reset just before, so nothing but the activation's end interrupts it; and "
        "the loop here goes on until the lane is empty anyway.",
    ),
    Mutant(
        "expired-is-handled",
        "_activation.py",
        "            if deadline <= cell.system.now():",
        "            if deadline < 0:",
        "a message whose deadline has passed is begun",
    ),
    Mutant(
        "abandoned-is-handled",
        "_activation.py",
        "        if exchange.abandoned:\n            cell.settle",
        "        if exchange.abandoned and exchange.late:\n            cell.settle",
        "a message whose asker left in the queue is begun",
    ),
    Mutant(
        "deferred-keeps-the-loops-scope",
        "_activation.py",
        "            envelope.exchange.scope = None\n",
        "            pass\n",
        "an asker that leaves before its task runs cancels whatever the loop does",
    ),
    Mutant(
        "deferred-not-awaited-at-a-stop",
        "_activation.py",
        "            while self._deferred and self.error is None:",
        "            while self._deferred > 1 and self.error is None:",
        "a stop cancels a deferred handling at once",
    ),
    Mutant(
        "deferred-settled-without-a-wake",
        "_activation.py",
        "        self.cell.settle(envelope, outcome, told)\n        self.wake()",
        "        self.cell.settle(envelope, outcome, told)",
        "a loop at its concurrency is not woken when there is room",
    ),
    Mutant(
        "tasks-outlive-the-activation",
        "_activation.py",
        "        await self._end_tasks()\n        self._ended = True",
        "        self._ended = True",
        "background tasks run on after their actor",
    ),
    Mutant(
        "timers-outlive-the-activation",
        "_activation.py",
        "        self._ended = True\n        self._end_timers()\n",
        "        self._ended = True\n",
        "a timer fires while on_stop runs",
    ),
    Mutant(
        "timers-of-on-stop-stay",
        "_activation.py",
        "                self._end_timers()  # those that on_stop set",
        "                pass",
        "a timer set in on_stop stays in the heap",
    ),
    Mutant(
        "tasks-begun-at-the-end-run-on",
        "_activation.py",
        "                for scope in self._tasks:  # each time: what ends may have started another\n"
        '                    scope.cancel(reason="the activation ended")\n'
        "                await self.park()",
        "                for scope in self._tasks:\n"
        '                    scope.cancel(reason="the activation ended")\n'
        "                while self._tasks:\n"
        "                    await self.park()",
        "a task started during the cancel keeps the actor from ending",
    ),
    Mutant(
        "deferred-waits-as-the-handler",
        "_activation.py",
        "        current_handler.set(None)  # what runs here never keeps the actor from receiving\n",
        "",
        "a deferred handling that asks its own actor is told of a deadlock",
        sample=True,
    ),
    Mutant(
        "mess-leaves-the-activation",
        "_activation.py",
        "            except BaseExceptionGroup as group:\n"
        "                self._crash_of(group)\n"
        "        finally:\n            await self._clean_up()",
        "            finally:\n                pass\n"
        "        finally:\n            await self._clean_up()",
        "an error beside a cancel ends the whole system",
    ),
    Mutant(
        "on-stop-unbounded",
        "_activation.py",
        "        with trio.CancelScope(shield=True, deadline=grace) as scope:",
        "        with trio.CancelScope(shield=True) as scope:",
        "on_stop may take for ever",
    ),
    Mutant(
        "on-stop-not-shielded",
        "_activation.py",
        "        with trio.CancelScope(shield=True, deadline=grace) as scope:",
        "        with trio.CancelScope(deadline=grace) as scope:",
        "on_stop is cancelled with the system",
    ),
    Mutant(
        "filters-inside-out",
        "_activation.py",
        "        for each in reversed(self.cell.spec.receive_filters):",
        "        for each in self.cell.spec.receive_filters:",
        "the first filter is the innermost",
        sample=True,
    ),
]

WAITS = [
    Mutant(
        "edge-kept",
        "_ref.py",
        "                end_wait(waiter, exchange)\n        if",
        "                pass\n        if",
        "an ask that is over still counts as a wait",
    ),
    Mutant(
        "woken-edge-counts",
        "_waits.py",
        "    return [each for at, each in edges.items() if at.waiting] if edges else []",
        "    return list(edges.values()) if edges else []",
        "a wait that was woken counts until its task runs: false deadlocks",
    ),
    Mutant(
        "edge-only-while-parked",
        "_envelope.py",
        "        return not self.resolved\n",
        "        return self.parked is not None\n",
        "an asker that was let in from the line and has yet to run is not in the graph",
    ),
    Mutant(
        "no-deadlock-detection",
        "_waits.py",
        "        if cell is goal:\n            return path\n",
        "        if cell is goal and path == [goal]:\n            return path\n",
        "only asking oneself is noticed",
    ),
    Mutant(
        "credit-off-by-one",
        "_envelope.py",
        "        if len(items) >= self._credit:",
        "        if len(items) > self._credit:",
        "the producer runs one item ahead of its credit",
    ),
    Mutant(
        "producer-not-woken",
        "_envelope.py",
        "        if self._producer.parked is not None:\n            self._producer.wake()",
        "        if self._producer.parked is not None and not items:\n"
        "            self._producer.wake()",
        "the producer goes on only when everything is read",
    ),
    Mutant(
        "reader-not-woken",
        "_envelope.py",
        "        items.append(item)\n        if self.parked is not None:\n            self.wake()",
        "        items.append(item)",
        "the reader is woken by the end only",
    ),
    Mutant(
        "merge-loses",
        "_envelope.py",
        "                items[-1] = joined\n",
        "                items[-1] = item\n",
        "joining keeps the new item only",
    ),
    Mutant(
        "error-before-items",
        "_envelope.py",
        "        while not items:\n            if self.resolved:",
        "        while not items or self.error is not None:\n            if self.resolved:",
        "a stream's error overtakes its items",
    ),
    Mutant(
        "producer-without-an-edge",
        "_envelope.py",
        "        if producer is None or self.reader is None:",
        "        if True:",
        "a reader that asks its producer hangs",
    ),
    Mutant(
        "sink-failure-crashes-the-producer",
        "_envelope.py",
        "            self._fail(error)\n        except BaseExceptionGroup",
        "            raise error\n        except BaseExceptionGroup",
        "what the asker's function raises is taken for the producer's own",
        sample=True,
    ),
    Mutant(
        "sink-failure-lets-the-producer-go-on",
        "_envelope.py",
        '                self.scope.cancel(reason="the asker\'s function failed")',
        "                pass",
        "the handling goes on for an asker that has its error",
    ),
    Mutant(
        "sink-failure-uses-up-the-loop",
        "_envelope.py",
        "            self.abandoned = True\n            if self.scope is not None:\n"
        "                self.scope.cancel(reason=\"the asker's",
        "            if self.scope is not None:\n"
        "                self.scope.cancel(reason=\"the asker's",
        "a failed function is called again, and the next message is cancelled too",
    ),
    Mutant(
        "sink-called-after-the-answer",
        "_envelope.py",
        "        if self.resolved or self.abandoned:\n            return",
        "        if self.abandoned:\n            return",
        "the asker's function runs while the asker goes on",
    ),
    Mutant(
        "answer-overtakes-the-sink",
        "_ref.py",
        "                    while exchange.at_work:",
        "                    while False:",
        "an early answer returns while the asker's function still runs",
    ),
    Mutant(
        "sink-waits-as-the-producer",
        "_envelope.py",
        "        token = current_handler.set(asker)\n",
        "        token = current_handler.set(producer)\n",
        "a function that asks its own actor hangs",
    ),
    Mutant(
        "sink-without-an-edge",
        "_envelope.py",
        "            note_wait(producer, asker, place)\n",
        "            note_wait(producer, producer, place)\n",
        "a function that asks its producer hangs",
    ),
    Mutant(
        "sink-at-work-is-a-wait",
        "_envelope.py",
        "        return not (self.resolved or self.at_work)",
        "        return not self.resolved",
        "the tree says that an asker waits for a producer that waits for it",
    ),
    Mutant(
        "slot-not-cleared-after-abort",
        "_slot.py",
        "        self.parked = None\n        return trio.lowlevel.Abort.SUCCEEDED",
        "        return trio.lowlevel.Abort.SUCCEEDED",
        "a cancelled wait is woken once more",
    ),
    Mutant(
        "second-answer-wins",
        "_envelope.py",
        "            self.late += 1\n            return False",
        "            self.late += 1",
        "a later answer replaces the first",
    ),
    Mutant(
        "leave-does-not-cancel",
        "_envelope.py",
        '            self.scope.cancel(reason="the asker left")\n        deadline',
        "            pass\n        deadline",
        "an asker that leaves lets its handling run on",
    ),
    Mutant(
        "leave-does-not-wait",
        "_envelope.py",
        "            while self.stage != ENDED:\n                await self.park()",
        "            await trio.lowlevel.cancel_shielded_checkpoint()",
        "a cancelled ask returns while its handling still ends",
    ),
]

SUPERVISION = [
    Mutant(
        "window-off-by-one",
        "_restart_window.py",
        "        if len(self._times) >= self._intensity:",
        "        if len(self._times) > self._intensity:",
        "one restart more than the intensity",
        sample=True,
    ),
    Mutant(
        "window-edge",
        "_restart_window.py",
        "self._times[0] <= now - self._period_seconds:",
        "self._times[0] < now - self._period_seconds:",
        "a restart exactly a period ago still counts",
    ),
    Mutant(
        "end-not-reported",
        "_supervisor.py",
        "        self._ends.append((cell, end))\n        self._control.wake()",
        "        self._ends.append((cell, end))",
        "the control task is not woken by a child's end",
    ),
    Mutant(
        "activation-not-cleared",
        "_supervisor.py",
        "        cell.activation = None\n        self._ends",
        "        self._ends",
        "a cell keeps the activation that ended",
    ),
    Mutant(
        "stop-not-marked",
        "_supervisor.py",
        "        cell.stop_wanted = True\n",
        "",
        "a stopped permanent child comes back",
    ),
    Mutant(
        "group-forgets-the-later-ones",
        "_supervisor.py",
        "            if (at >= after or each in self._group) and not _gone(each)",
        "            if (at > after or each in self._group) and not _gone(each)",
        "the one that crashed does not come back with its group",
    ),
    Mutant(
        "group-not-backwards",
        "_supervisor.py",
        "        for child in reversed(self._group):",
        "        for child in self._group:",
        "a group goes down first started first",
    ),
    Mutant(
        "temporary-comes-back-with-its-group",
        "_supervisor.py",
        '        if cell.spec.restart == "temporary":\n            self._bury(cell, "dead", end)\n',
        '        if cell.spec.restart == "never":\n            self._bury(cell, "dead", end)\n',
        "a temporary sibling is restarted",
    ),
    Mutant(
        "earlier-plans-not-called-off",
        "_supervisor.py",
        "            children[:] = [child for child in children if child not in group]",
        "            pass",
        "a member of a group starts before the others",
    ),
    Mutant(
        "transient-is-permanent",
        "_supervisor.py",
        '                return end.reason in ("error", "killed")',
        "                return True",
        "a transient child comes back after a normal end",
    ),
    Mutant(
        "starts-while-ending",
        "_supervisor.py",
        '        return self._open and self._stopping == "no"',
        "        return self._open",
        "something is started below a supervisor that stops",
    ),
    Mutant(
        "stop-forward",
        "_supervisor.py",
        "[[c] for c in reversed(children)]",
        "[[c] for c in children]",
        "children stop first started first",
    ),
    Mutant(
        "backoff-forgotten",
        "_supervisor.py",
        "        child.restart_attempt += 1\n",
        "",
        "the delay never grows",
    ),
    Mutant(
        "stale-end-takes-the-newcomer",
        "_supervisor.py",
        "        if self._children.get(child.name) is child:\n            del",
        "        if child.name in self._children:\n            del",
        "an old cell's end takes its successor out of the tree",
    ),
    Mutant(
        "stop-loses-to-passivation",
        "_cell.py",
        '        if activation is None or activation.stop_reason not in (None, "passivated"):',
        "        if activation is None or activation.stop_reason is not None:",
        "an actor asked to sleep cannot be stopped",
    ),
]

ROUTES = [
    Mutant(
        "passivated-with-mail",
        "_routes.py",
        "        if cell.mailbox.depth or cell.mailbox.waiting_senders or cell.control:\n"
        "            self.demand(cell)",
        "        if cell.mailbox.waiting_senders or cell.control:\n            self.demand(cell)",
        "a message that came at the last moment lies in a sleeping cell",
    ),
    Mutant(
        "cell-not-forgotten",
        "_routes.py",
        '        if cell.state == "passive" and cell.quiet and not cell.watchers:',
        '        if cell.state == "passive" and cell.quiet and cell.watchers:',
        "sleeping addresses are kept in memory",
    ),
    Mutant(
        "busy-put-to-sleep",
        "_routes.py",
        'cell.state != "running" or not cell.quiet:',
        'cell.state != "running":',
        "an actor is asked to sleep while it works",
        equivalent="The loop itself calls a passivation off where something is in work or waits; "
        "the look before it only saves the alert.",
    ),
    Mutant(
        "starts-not-limited",
        "_routes.py",
        "        self._starts = trio.CapacityLimiter(route.starts_max)",
        "        self._starts = trio.CapacityLimiter(route.starts_max + 1)",
        "more activations at once than allowed",
    ),
    Mutant(
        "place-not-given-back",
        "_routes.py",
        "        finally:\n            self._started(cell)",
        "        finally:\n            pass",
        "an activation whose start fails keeps its place",
    ),
    Mutant(
        "least-recent-is-most-recent",
        "_routes.py",
        "            self._resident.move_to_end(cell.name)",
        "            pass",
        "the one made first goes first, however busy",
    ),
]

TIMERS = [
    Mutant(
        "timer-generation-ignored",
        "_timers.py",
        "        if activation is None or cell.generation != entry.generation:",
        "        if activation is None:",
        "a timer of an earlier activation is delivered",
        equivalent="An activation ends all its timers before its cell gets another one, so an "
        "entry of an earlier generation is never live; the stamp is a second lock.",
    ),
    Mutant(
        "cancelled-timer-fires",
        "_timers.py",
        "        entry.live = False\n",
        "",
        "cancel leaves the entry alive",
    ),
    Mutant(
        "soonest-timer-not-seen",
        "_timers.py",
        "        if self._heap[0][2] is entry:\n            self._slot.wake()",
        "        if len(self._heap) == 1:\n            self._slot.wake()",
        "a timer sooner than all others comes late",
    ),
    Mutant(
        "dead-entries-miscounted",
        "_timers.py",
        "            self._dead = 0\n\n    async def run",
        "\n    async def run",
        "the count of timers is wrong after a clean-up",
    ),
    Mutant(
        "periodic-forgets-itself",
        "_timers.py",
        "            self.add(entry, now + entry.every_seconds)\n        else:\n",
        "            pass\n        else:\n",
        "every comes once",
    ),
]

SYSTEM = [
    Mutant(
        "drain-not-told",
        "_cell.py",
        "            self._gone.set()\n        if self.start_slot is not None:\n"
        "            self.start_slot.wake()\n        if self.system.draining:\n"
        "            self.system.note_dry()",
        "            self._gone.set()\n        if self.start_slot is not None:\n"
        "            self.start_slot.wake()",
        "a drain does not see that the last one waiting has died",
    ),
    Mutant(
        "spawn-not-woken-by-a-death",
        "_cell.py",
        "        if self.start_slot is not None:\n            self.start_slot.wake()\n        if",
        "        if",
        "a spawn whose actor fails to start waits for ever",
    ),
    Mutant(
        "accepted-send-can-be-cancelled",
        "_system.py",
        "            await trio.lowlevel.cancel_shielded_checkpoint()",
        "            await trio.lowlevel.checkpoint()",
        "a tell is cancelled after it was accepted",
    ),
]

MUTANTS = [
    *MAILBOX,
    *SETTLING,
    *ACTIVATION,
    *WAITS,
    *SUPERVISION,
    *ROUTES,
    *TIMERS,
    *SYSTEM,
]
