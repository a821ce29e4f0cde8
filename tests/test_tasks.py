"""Each endpoint does what the contract says."""

from conftest import Person


def test_a_task_can_be_created_and_read(alice: Person) -> None:
    task = alice.create("Buy milk")
    assert alice.client.get(f"/tasks/{task['id']}").json() == task
