"""The plan's way into the outboxes: in order and for certain, also when the server is away for a while."""

from broker.control_entries import PlanChange
from broker.errors import Unavailable
from broker.faults.grammar import parse_lines
from broker.faults.schedule import timed
from broker.faults.scheduler import PlanScheduler
from broker.ports.run import Request
from robots.run.leader import PlanPublisher


class RunControl:
    """What the publisher needs of run control; the server may be away."""

    def __init__(self) -> None:
        self.is_away = False
        self.has_outboxes = True
        self.put: list[list[str]] = []
        self.pending: list[Request] = []

    def change(self, change: PlanChange, retry: bool = True) -> None:
        if self.is_away or not self.has_outboxes:
            raise Unavailable("away")
        self.put.append([planned.text for planned in change.faults])

    def acknowledge(self, request_id: str, request: str, refusal: str) -> None:
        if self.is_away:
            raise Unavailable("away")
        self.put.append([request_id, request, refusal])

    def requests(self) -> list[Request]:
        pending, self.pending = self.pending, []
        return pending


def publisher(lines: str, run_control: RunControl) -> PlanPublisher:
    return PlanPublisher(PlanScheduler(timed(parse_lines(lines)), 0), run_control, run_control)


def test_what_is_due_while_the_server_is_away_is_put_out_in_order_when_it_is_back() -> None:
    # Given a plan with a dated fault, and a server that is away at its begin, its end, and a person's request
    run_control = RunControl()
    plan = publisher("loss .5 @1s+1s", run_control)
    plan.begin()
    run_control.is_away = True
    plan.publish(1_000_000)
    run_control.pending.append(Request("1-0", "set delay 5ms"))
    plan.publish(1_500_000)
    plan.publish(2_000_000)
    assert run_control.put == []
    assert not plan.is_settled(2_000_000)

    # When it is back
    run_control.is_away = False
    plan.publish(2_030_000)

    # Then all of it comes, in its order
    assert run_control.put == [["loss 0.5"], ["loss 0.5", "delay 5ms"], ["delay 5ms"]]
    assert plan.is_settled(2_030_000)


def test_a_request_that_cannot_be_understood_is_answered_with_the_plan_as_it_is() -> None:
    run_control = RunControl()
    plan = publisher("loss .5", run_control)
    run_control.pending.append(Request("1-0", "set nonsense"))

    plan.publish(0)

    assert run_control.put == [["loss 0.5"]]


def test_a_successor_puts_out_what_is_in_force_though_nothing_changes() -> None:
    # Given a publisher that takes over in the middle of a plan
    run_control = RunControl()
    plan = publisher("loss .5; partition r00 @1s+1s; delay 5ms @9s", run_control)

    # When it has what is in force repeated
    plan.repeat(1_500_000)
    plan.publish(1_500_000)

    # Then every outbox holds that, whatever its predecessor came to, and what is dated later comes in its time
    assert run_control.put[-1] == ["loss 0.5", "partition r00"]
    plan.publish(9_000_000)
    assert run_control.put[-1] == ["loss 0.5", "delay 5ms"]


def test_a_request_for_process_faults_is_acknowledged_and_goes_into_no_outbox() -> None:
    # Given requests of both kinds, and a server that is away
    run_control = RunControl()
    plan = publisher("loss .5", run_control)
    run_control.is_away = True
    run_control.pending = [
        Request("1-0", "set kill r00"),
        Request("2-0", "set delay 5ms"),
        Request("3-0", "clear kill"),
    ]
    plan.publish(1_000_000)
    assert not plan.is_settled(1_000_000)

    # When it is back
    run_control.is_away = False
    plan.publish(2_000_000)

    # Then each is answered in its way, and those of a kind in their order
    assert run_control.put == [["1-0", "set kill r00", ""], ["3-0", "clear kill", ""], ["loss 0.5", "delay 5ms"]]
    assert plan.due_faults(9_000_000) == [], "it was cleared before it was due"


def test_a_successor_answers_every_request_that_has_no_answer_though_a_later_one_has() -> None:
    # Given a predecessor that answered the second of three requests, and an answer to none of them
    run_control = RunControl()
    run_control.pending = [Request(f"{number}-0", f"set kill r0{number}") for number in (1, 2, 3)]
    plan = PlanPublisher(PlanScheduler([], 0), run_control, run_control, ["2-0", "9" * 30, "garbage"])

    # When its successor reads them all
    plan.publish(0)

    # Then it answers the others
    assert run_control.put == [["1-0", "set kill r01", ""], ["3-0", "set kill r03", ""]]


def test_an_acknowledgement_does_not_wait_for_a_plan_change_that_cannot_be_stored() -> None:
    # Given a plan change that no outbox takes
    run_control = RunControl()
    run_control.has_outboxes = False
    plan = publisher("loss .5 @1s", run_control)
    plan.publish(1_000_000)

    # When a request for a process fault comes
    run_control.pending.append(Request("1-0", "set kill r00"))
    plan.publish(1_100_000)

    # Then it is answered, and nothing keeps the fault back
    assert run_control.put == [["1-0", "set kill r00", ""]]
    assert plan.is_answered
    assert not plan.is_settled(9_000_000)

    # When one comes that is answered by a plan change
    run_control.pending.append(Request("2-0", "set delay 5ms; kill r00"))
    plan.publish(1_200_000)

    # Then it is not answered before the outboxes take that
    assert not plan.is_answered
    run_control.has_outboxes = True
    plan.publish(1_300_000)
    assert plan.is_answered
