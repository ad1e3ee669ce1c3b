"""Redis' time for the scheduler: see :mod:`kuber_cron.common.redis_store.redis_clock`, which workers use too."""

from kuber_cron.common.redis_store.redis_clock import RedisClock

__all__ = ["RedisClock"]
