from kuber_cron.common.jobs.job import Job, timing_job


def test_after_takes_its_instants_from_the_first_predecessor_through_any_number_of_them():
    jobs = {
        "a": Job(id="a", schedule="30 2 * * *", command="true"),
        "b": Job(id="b", schedule="@after", command="true", after=["a"]),
        "c": Job(id="c", schedule="@after", command="true", after=["b", "a"]),
    }
    assert timing_job(jobs["c"], jobs.get) is jobs["a"]
