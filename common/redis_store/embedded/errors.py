"""The error of the embedded Redis, apart from its server: those who only catch it load no server."""

from kuber_cron.common.errors import KuberCronError


class EmbeddedRedisError(KuberCronError):
    """The Redis server of the one-machine mode could not be started or is in use."""

    code = "embedded-redis"
