export const USAGE = `Multiboard Sync agent

usage: pnpm agent <command> [options]

  run                                    the daemon: poll the control plane, run its orders
  sync --from A --to B                   archive A, then make B's tables equal to A's
      [--tables p,q] [--engine auto|swap|create|merge|truncate] [--dry-run]
  export --from A [--tables p,q]         archive A
  restore <archive> --to B               bring an archive into B
      [--tables p,q] [--engine …] [--dry-run]
  undo [<job>] [--to B] [--dry-run]      put back what a job replaced in B: the previous tables where they are
                                         kept, else the safety backup; without <job> the last one, without
                                         --to the only target of the policy
  reindex [<alias>…] [--from B]          make search collections equal to the rows of B: all, or those named;
      [--full] [--dry-run]               --full makes them anew also where sending what differs would do
  collections check [<alias>…]           how the search stands to the rows, and what a reindex would do
  collections infer --from A <table>     a first mapping for agent.yaml, with remarks
  clean [--to B] [--previous]            remove what finished jobs of this agent left in B, or in every target, the
      [--job J] [--dry-run]              bucket and the search server; with --previous also the tables kept for
                                         an undo; with --job what job J of an agent that is lost left
  archives                               list the archives of the bucket
  archives show <archive>                one archive: its tables, rows and sizes
  archives keys                          who has signed the bucket's archives, and whether this agent trusts them
  enroll --code mbse_…                   make this agent known to its control plane with the code an admin was shown;
                                         makes the key file where there is none
  rotate-key                             exchange the agent's key; archives signed with the one before stay readable
  health [--max-age SECONDS]             whether the daemon of this AGENT_STATE_DIR is well, by its last sign of life:
                                         exit code 0, or 1 with the reason
  doctor                                 check configuration, bucket, keys, every database and the search server

options for all
  --json     one JSON object as the last line, nothing else on standard output
  --help     this text

sync, restore and undo take the search index with them; --no-reindex leaves it as it is.
A table pattern is schema.table, with * and ?; without a schema it means public.
The policy in agent.yaml applies to every command. Exit codes: 0 succeeded, 1 failed or canceled,
2 bad usage or configuration, 3 refused (nothing was begun), 4 succeeded, and the search index is stale.
`
