"""The API at /api/v1: the services of the apps, for programs. docs/api.md says how to use it.

1. `policy` says who may call an operation, and hands it its object; `problems` is what every error looks like.
2. `paging` cuts lists, `files` come and go, `repeating` answers a request that comes twice once.
3. `work`, `notifying`, `data`, `asking`, `people`, `curating`, `snapshots`, `settling`, `weighing`, `prompts`,
   `training`, `adapters`, `elsewhere`, `judging`, `serving`, `ab_tests`, `watching` hold the operations and what they
   answer, `shapes` what several of them answer; `joined` makes one API of them.
4. `snippets` writes an operation down as curl and as Python, for the pages.
"""
