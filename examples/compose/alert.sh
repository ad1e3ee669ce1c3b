#!/bin/sh
# Makes the job `payments` fail, waits until its alert fires and Alertmanager has it, heals the job, and waits until the
# alert is gone again. The stack has to be up: `docker compose up --detach --wait`. It takes about a minute and a half.
set -eu
cd "$(dirname "$0")/../.."

ALERT=KuberCronJobFailing
JOB=payments
BROKEN=/work/broken
# Long enough for a schedule of 10 s, the alert's own `for`, and a slow machine.
SECONDS_AT_MOST=180

began=$(date +%s)
say() { printf '%s  %3d s  %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" $(($(date +%s) - began)) "$*"; }
fail() { say "$*" >&2; exit 1; }
worker() { docker compose exec -T worker sh -c "$1"; }

address() {
  docker compose port "$1" "$2" 2>/dev/null || fail "no $1 is published: is the stack up (docker compose up --detach --wait)?"
}
prometheus=$(address prometheus 9090)
alertmanager=$(address alertmanager 9093)

# Nothing is so only where they answer that nothing is.
prometheus_says() {
  curl --silent --fail --get "http://$prometheus/api/v1/query" \
    --data-urlencode "query=ALERTS{alertname=\"$ALERT\",job=\"$JOB\"}"
}
alertmanager_says() {
  curl --silent --fail --get "http://$alertmanager/api/v2/alerts" \
    --data-urlencode "filter=alertname=\"$ALERT\"" --data-urlencode "filter=job=\"$JOB\""
}
is_pending() { prometheus_says | grep -q '"alertstate":"\(pending\|firing\)"'; }
is_firing() { prometheus_says | grep -q '"alertstate":"firing"'; }
is_over() { prometheus_says | grep -q '"result":\[\]'; }
is_told() { alertmanager_says | grep -q '"state":"active"'; }
is_gone() { alertmanager_says | grep -qx '\[\]'; }

wait_until() { # a sentence, a command with its words
  what=$1
  shift
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ "$tries" -lt "$SECONDS_AT_MOST" ] || fail "still not so after $SECONDS_AT_MOST s: $what"
    sleep 1
  done
  say "$what"
}

is_over || fail "$ALERT for $JOB is there already, or Prometheus does not answer: is $BROKEN left over in the worker?"
trap 'worker "rm -f $BROKEN"' EXIT
trap 'exit 130' INT TERM

worker "touch $BROKEN"
say "$JOB fails from now on ($BROKEN is there)"
wait_until "Prometheus has seen it fail: $ALERT is pending" is_pending
wait_until "$ALERT fires" is_firing
wait_until "Alertmanager has it" is_told
worker "rm $BROKEN"
say "$JOB is healed ($BROKEN is gone)"
wait_until "$ALERT is resolved in Prometheus" is_over
wait_until "and gone from Alertmanager" is_gone
