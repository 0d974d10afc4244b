#!/bin/sh
# Makes what compose.yaml mounts: folders, secrets, keys, a policy to edit. On the machine itself, as root, once infra/.env is as it
# should be: sh infra/prepare.sh
# What is there is kept, so it can be run again. Values are asked for and not shown. Private keys are made here and stay here.
set -eu
cd "$(dirname "$0")"

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# The value of a variable of .env, without running .env.
setting() {
  sed -n "s/^$1=//p" .env | tail -n 1
}

has_profile() {
  case ",$(setting COMPOSE_PROFILES)," in
    *",$1,"*) return 0 ;;
    *) return 1 ;;
  esac
}

# The folder keeps everybody else out; the processes in the containers are not root and must be able to read the file.
keep() {
  cat > "secrets/$1.new"
  chmod 0444 "secrets/$1.new"
  mv "secrets/$1.new" "secrets/$1"
}

random() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# asked NAME QUESTION: from the terminal, or a line of standard input.
asked() {
  [ ! -e "secrets/$1" ] || return 0
  printf '%s: ' "$2" >&2
  if [ -t 0 ]; then
    trap 'stty echo; exit 130' INT
    stty -echo
  fi
  IFS= read -r value || value=
  if [ -t 0 ]; then
    stty echo
    printf '\n' >&2
  fi
  printf '%s' "$value" | keep "$1"
  unset value
}

[ -f .env ] || fail 'There is no infra/.env. Copy infra/.env.example to it and edit it first.'
install -d -m 0700 secrets
install -d -m 0755 config
if [ ! -e config/agent.yaml ]; then
  cp ../agent.example.yaml config/agent.yaml
  chmod 0644 config/agent.yaml
fi

if has_profile all; then
  if [ ! -e secrets/postgres_password ]; then
    random | keep postgres_password
    printf 'postgresql://postgres:%s@postgres:5432/control_plane' "$(cat secrets/postgres_password)" | keep database_url
  fi
  if [ ! -e secrets/signing_key ]; then
    [ ! -e config/trust.json ] || fail 'config/trust.json is there and secrets/signing_key is not. Bring the key, or move the trust file away.'
    keys=$(mktemp -d "$PWD/secrets/keys.XXXXXX")
    trap 'rm -rf "$keys"' EXIT
    docker run --rm --network none --user 0:0 --volume "$PWD/../scripts:/app/scripts:ro" --volume "$keys:/keys" \
      --entrypoint node "multiboard-sync-agent:${SYNC_VERSION:-local}" scripts/make-keys.ts --dir /keys/new > /dev/null
    # The agent's own key is made by `enroll`, in the agent's volume.
    keep signing_key < "$keys/new/control-plane.key.json"
    install -m 0644 "$keys/new/trust.json" config/trust.json
  fi
fi
if has_profile s3 && [ ! -e secrets/s3_secret_access_key ]; then
  printf 'agent' | keep s3_access_key_id
  random | keep s3_secret_access_key
fi
if has_profile typesense && [ ! -e secrets/typesense_admin_key ]; then
  random | keep typesense_admin_key
fi

asked production_database_url 'URL of the database production (postgresql://user:password@host:5432/name)'
asked staging_database_url 'URL of the database staging'
asked s3_access_key_id 'Access key of the bucket'
asked s3_secret_access_key 'Secret key of the bucket'
asked typesense_api_key 'Key of the search server (empty: there is none)'

[ -e config/trust.json ] || printf '%s\n' 'To do: config/trust.json, made where the control plane was set up.' >&2
printf '%s\n' 'infra/secrets and infra/config are ready. Edit infra/config/agent.yaml, then: docker compose up -d' >&2
