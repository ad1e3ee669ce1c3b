# Starts Redis with the password and a bound of memory. By its standard input, so that neither an argument nor a
# file shows the password. Nothing but a shell and redis-server is needed.
set -eu
export LC_ALL=C # A-Z below are letters of ASCII

IFS= read -r password </etc/kuber-cron/secret/password || : # its end of line may be missing
case $password in
  "" | *[!A-Za-z0-9._~-]*)
    # It also stands in the dashboard's URL.
    echo "Secret kuber-cron-redis, key password: use one or more of the letters, digits and . _ ~ - only" >&2
    exit 1
    ;;
esac

# The rest is for clients, the append-only file's buffer, and the copies of pages while that file is written anew.
exec redis-server - <<END
include /etc/kuber-cron/config/redis.conf
maxmemory $((MEMORY_LIMIT_BYTES / 10 * 6))
requirepass $password
END
