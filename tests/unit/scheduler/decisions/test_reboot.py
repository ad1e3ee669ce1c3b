from tests.support.planning import T0, made

from kuber_cron.scheduler.decisions.reboot import Boot, plan_reboot


def test_reboot_jobs_run_once_a_boot_and_not_when_they_come_later():
    entry = made("@reboot")
    boot = Boot("boot-1", is_new=True)
    (decision,) = plan_reboot(entry, "", T0, boot).decisions
    assert decision.kind == "queue"
    assert plan_reboot(entry, decision.cursor, T0, boot).decisions == ()
    (late,) = plan_reboot(entry, "", T0, Boot("boot-1", is_new=False)).decisions
    assert late.kind == "move"
    (again,) = plan_reboot(entry, decision.cursor, T0, Boot("boot-2", is_new=True)).decisions
    assert again.kind == "queue"
