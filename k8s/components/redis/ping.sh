# sh ping.sh ready: it serves. sh ping.sh alive: it answers, be it only that it loads its file.
IFS= read -r REDISCLI_AUTH </etc/kuber-cron/secret/password
export REDISCLI_AUTH
answer=$(redis-cli ping 2>&1)
case $1:$answer in
  ready:PONG | alive:PONG | alive:LOADING* | alive:BUSY*) exit 0 ;;
esac
echo "$answer" >&2
exit 1
