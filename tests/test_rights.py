"""Who may open what: every URL, every caller, reading and writing, as one table.

A new URL fails here until it has a row and its view a declared policy. `log-in` is a redirect to the log-in page; any
other number is the status. What another project owns is a 404, as if it did not exist, never a 403.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from curation.models import (
    Decision,
    DuplicateCluster,
    DuplicateMember,
    ExampleScore,
    Map,
    QualityReport,
    Snapshot,
)
from curation.services.bulk_decisions import decide_all, look_at
from curation.services.gold_sets import gold_set_of, save_rule
from curation.services.maps import start_map
from curation.services.queue import Filter, Queue
from curation.services.review import decide
from curation.services.saved_views import save_view
from curation.services.selections import create_selection
from curation.services.snapshots import approve_snapshot, read_rows, start_freeze
from goldpan.policies import API, policy_of
from jobs import services as jobs
from jobs.models import Job
from labeling.models import Annotation, Annotator, Batch, BatchItem, Desk, Example, KnownAnswer, Upload
from projects import rights
from projects.models import InboxItem, InboxQuerySet, OfProjectQuerySet, Project, ProjectQuerySet, Role
from projects.objects import put_object
from projects.rights import FOUNDER, MAY, PUBLIC, SIGNED_IN, SUPERUSER, on
from projects.services import create_api_key, notify, publish_guideline
from projects.services.webhooks import create_webhook
from serving.models import Deployment, Experiment, Look, Shadow, TrainingProposal, WatchPlan
from tests.fake_label_studio import FakeLabelStudio
from tests.training.story import TRIAL, new_experiment
from training.models import (
    Adapter,
    Evaluation,
    PairwiseEvaluation,
    PairwiseQuerySet,
    Quote,
    Run,
    RunQuerySet,
    Verdict,
)
from training.prompts import prompt_to_json, short, zero_shot
from training.services.prices import prices
from training.services.quotes import config_sha256, run_config
from training.services.scoring import judge, write_evaluation
from training.services.written_prompts import starting_words, write_prompt

ROOT = Path(__file__).resolve().parent.parent
CALLERS = ("anonymous", "charlie", "bob", "alice", "dora")  # nobody, annotator, curator, admin, a curator elsewhere

# GET and POST by these five. The object is what the URL's number names, of the project Moods; "-" where it has none.
TABLE = """
url                          object     method  anonymous charlie bob  alice dora
home                         -          GET     log-in    302     302  302   302
home                         -          POST    log-in    405     405  405   405
projects:create              -          GET     log-in    403     403  200   403
projects:create              -          POST    log-in    403     403  200   403
projects:detail              project    GET     log-in    200     200  200   404
projects:detail              project    POST    log-in    405     405  405   404
projects:members             project    GET     log-in    403     403  200   404
projects:members             project    POST    log-in    403     403  302   404
projects:inbox               -          GET     log-in    200     200  200   200
projects:inbox               -          POST    log-in    405     405  405   405
projects:inbox-read          -          GET     log-in    405     405  405   405
projects:inbox-read          -          POST    log-in    302     302  302   302
projects:mail                -          GET     log-in    200     200  200   200
projects:mail                -          POST    log-in    200     200  200   200
projects:notice              bobs_item  GET     log-in    404     302  404   404
projects:notice              bobs_item  POST    log-in    404     405  404   404
projects:webhooks            project    GET     log-in    403     403  200   404
projects:webhooks            project    POST    log-in    403     403  200   404
projects:webhook             webhook    GET     log-in    403     403  200   404
projects:webhook             webhook    POST    log-in    403     403  405   404
projects:webhook-edit        webhook    GET     log-in    403     403  302   404
projects:webhook-edit        webhook    POST    log-in    403     403  302   404
projects:webhook-state       webhook    GET     log-in    403     403  405   404
projects:webhook-state       webhook    POST    log-in    403     403  302   404
projects:webhook-secret      webhook    GET     log-in    403     403  302   404
projects:webhook-secret      webhook    POST    log-in    403     403  200   404
projects:webhook-test        webhook    GET     log-in    403     403  405   404
projects:webhook-test        webhook    POST    log-in    403     403  302   404
projects:webhook-again       webhook    GET     log-in    403     403  405   404
projects:webhook-again       webhook    POST    log-in    403     403  400   404
projects:keys                project    GET     log-in    403     200  200   404
projects:keys                project    POST    log-in    403     200  200   404
projects:key-revoke          key        GET     log-in    403     404  200   404
projects:key-revoke          key        POST    log-in    403     404  302   404
labeling:import              project    GET     log-in    403     200  200   404
labeling:import              project    POST    log-in    403     200  200   404
labeling:upload              upload     GET     log-in    403     200  200   404
labeling:upload              upload     POST    log-in    403     200  200   404
labeling:upload-bad-rows     upload     GET     log-in    403     200  200   404
labeling:upload-bad-rows     upload     POST    log-in    403     405  405   404
labeling:upload-import       upload     GET     log-in    403     405  405   404
labeling:upload-import       upload     POST    log-in    403     302  302   404
labeling:example-list        project    GET     log-in    403     200  200   404
labeling:example-list        project    POST    log-in    403     405  405   404
labeling:example             example    GET     log-in    403     200  200   404
labeling:example             example    POST    log-in    403     405  405   404
labeling:board               project    GET     log-in    403     200  200   404
labeling:board               project    POST    log-in    403     405  405   404
labeling:batch-create        project    GET     log-in    403     200  200   404
labeling:batch-create        project    POST    log-in    403     302  302   404
labeling:batch               batch      GET     log-in    403     200  200   404
labeling:batch               batch      POST    log-in    403     405  405   404
labeling:batch-state         batch      GET     log-in    403     405  405   404
labeling:batch-state         batch      POST    log-in    403     302  302   404
labeling:batch-again         batch      GET     log-in    403     405  405   404
labeling:batch-again         batch      POST    log-in    403     302  302   404
labeling:batch-file          handed_out GET     log-in    403     200  200   404
labeling:batch-file          handed_out POST    log-in    403     405  405   404
labeling:batch-answers       handed_out GET     log-in    403     405  405   404
labeling:batch-answers       handed_out POST    log-in    403     400  400   404
labeling:confusion           project    GET     log-in    403     200  200   404
labeling:confusion           project    POST    log-in    403     405  405   404
labeling:rules               project    GET     log-in    403     200  200   404
labeling:rules               project    POST    log-in    403     302  302   404
labeling:known-answers       project    GET     log-in    403     200  200   404
labeling:known-answers       project    POST    log-in    403     405  405   404
labeling:known-answer-retire known      GET     log-in    403     405  405   404
labeling:known-answer-retire known      POST    log-in    403     302  302   404
labeling:annotator           annotator  GET     log-in    200     200  200   404
labeling:annotator           annotator  POST    log-in    405     405  405   404
labeling:annotator-pause     annotator  GET     log-in    403     405  405   404
labeling:annotator-pause     annotator  POST    log-in    403     302  302   404
labeling:annotator-resume    paused     GET     log-in    403     405  405   404
labeling:annotator-resume    paused     POST    log-in    403     302  302   404
labeling:annotator-pass      annotator  GET     log-in    403     405  405   404
labeling:annotator-pass      annotator  POST    log-in    403     302  302   404
labeling:sync                project    GET     log-in    403     405  405   404
labeling:sync                project    POST    log-in    403     302  302   404
labeling:desk                project    GET     log-in    405     405  405   404
labeling:desk                project    POST    log-in    302     302  302   404
labeling:webhook             desk       GET     405       405     405  405   405
labeling:webhook             desk       POST    401       401     401  401   401
jobs:job-list                project    GET     log-in    403     200  200   404
jobs:job-list                project    POST    log-in    403     405  405   404
jobs:job                     job        GET     log-in    403     200  200   404
jobs:job                     job        POST    log-in    403     405  405   404
jobs:job-progress            job        GET     log-in    403     200  200   404
jobs:job-progress            job        POST    log-in    403     405  405   404
jobs:job-cancel              job        GET     log-in    403     405  405   404
jobs:job-cancel              job        POST    log-in    403     302  302   404
jobs:job-retry               failed_job GET     log-in    403     405  405   404
jobs:job-retry               failed_job POST    log-in    403     302  302   404
curation:review              project    GET     log-in    403     200  200   404
curation:review              project    POST    log-in    403     405  405   404
curation:decide              project    GET     log-in    403     405  405   404
curation:decide              project    POST    log-in    403     302  302   404
curation:undo                project    GET     log-in    403     405  405   404
curation:undo                project    POST    log-in    403     302  302   404
curation:message             project    GET     log-in    403     405  405   404
curation:message             project    POST    log-in    403     302  302   404
curation:save-view           project    GET     log-in    403     405  405   404
curation:save-view           project    POST    log-in    403     302  302   404
curation:delete-view         view       GET     log-in    403     405  405   404
curation:delete-view         view       POST    log-in    403     302  400   404
curation:discussions         project    GET     log-in    403     200  200   404
curation:discussions         project    POST    log-in    403     405  405   404
curation:bulk                project    GET     log-in    403     200  200   404
curation:bulk                project    POST    log-in    403     405  405   404
curation:bulk-decide         project    GET     log-in    403     405  405   404
curation:bulk-decide         project    POST    log-in    403     302  302   404
curation:bulk-undo           bulk       GET     log-in    403     405  405   404
curation:bulk-undo           bulk       POST    log-in    403     302  302   404
curation:adjudicate          project    GET     log-in    403     200  200   404
curation:adjudicate          project    POST    log-in    403     405  405   404
curation:adjudicate-settle   project    GET     log-in    403     405  405   404
curation:adjudicate-settle   project    POST    log-in    403     302  302   404
curation:adjudicate-undo     project    GET     log-in    403     405  405   404
curation:adjudicate-undo     project    POST    log-in    403     302  302   404
curation:causes              project    GET     log-in    403     200  200   404
curation:causes              project    POST    log-in    403     405  405   404
curation:guideline           project    GET     log-in    200     200  200   404
curation:guideline           project    POST    log-in    405     405  405   404
curation:guideline-changes   project    GET     log-in    200     200  200   404
curation:guideline-changes   project    POST    log-in    405     405  405   404
curation:guideline-edit      project    GET     log-in    403     200  200   404
curation:guideline-edit      project    POST    log-in    403     302  302   404
curation:guideline-preview   project    GET     log-in    403     405  405   404
curation:guideline-preview   project    POST    log-in    403     200  200   404
curation:guideline-ask-again project    GET     log-in    403     405  405   404
curation:guideline-ask-again project    POST    log-in    403     302  302   404
curation:quality             project    GET     log-in    403     200  200   404
curation:quality             project    POST    log-in    403     405  405   404
curation:quality-changes     project    GET     log-in    403     200  200   404
curation:quality-changes     project    POST    log-in    403     405  405   404
curation:score               project    GET     log-in    403     405  405   404
curation:score               project    POST    log-in    403     302  302   404
curation:duplicates          project    GET     log-in    403     200  200   404
curation:duplicates          project    POST    log-in    403     405  405   404
curation:duplicates-settle   project    GET     log-in    403     405  405   404
curation:duplicates-settle   project    POST    log-in    403     302  302   404
curation:duplicates-undo     project    GET     log-in    403     405  405   404
curation:duplicates-undo     project    POST    log-in    403     400  400   404
curation:keep-one            project    GET     log-in    403     200  200   404
curation:keep-one            project    POST    log-in    403     400  400   404
curation:pairs               project    GET     log-in    403     200  200   404
curation:pairs               project    POST    log-in    403     405  405   404
curation:pairs-judge         project    GET     log-in    403     405  405   404
curation:pairs-judge         project    POST    log-in    403     400  400   404
curation:known-answers       project    GET     log-in    403     200  200   404
curation:known-answers       project    POST    log-in    403     400  400   404
curation:next-labels         project    GET     log-in    403     200  200   404
curation:next-labels         project    POST    log-in    403     302  302   404
curation:map                 project    GET     log-in    403     200  200   404
curation:map                 project    POST    log-in    403     405  405   404
curation:map-draw            project    GET     log-in    403     405  405   404
curation:map-draw            project    POST    log-in    403     302  302   404
curation:map-points          map        GET     log-in    403     200  200   404
curation:map-points          map        POST    log-in    403     405  405   404
curation:map-point           map        GET     log-in    403     404  404   404
curation:map-point           map        POST    log-in    403     405  405   404
curation:map-table           map        GET     log-in    403     200  200   404
curation:map-table           map        POST    log-in    403     405  405   404
curation:map-select          map        GET     log-in    403     405  405   404
curation:map-select          map        POST    log-in    403     302  302   404
curation:selection-batch     selection  GET     log-in    403     200  200   404
curation:selection-batch     selection  POST    log-in    403     302  302   404
curation:gold-set            project    GET     log-in    403     200  200   404
curation:gold-set            project    POST    log-in    403     302  302   404
curation:gold-set-preview    project    GET     log-in    403     200  200   404
curation:gold-set-preview    project    POST    log-in    403     405  405   404
curation:gold-set-held-out   project    GET     log-in    403     200  200   404
curation:gold-set-held-out   project    POST    log-in    403     405  405   404
curation:gold-set-check      project    GET     log-in    403     405  405   404
curation:gold-set-check      project    POST    log-in    403     302  302   404
curation:gold-set-arms       project    GET     log-in    403     200  200   404
curation:gold-set-arms       project    POST    log-in    403     405  405   404
curation:experiments         project    GET     log-in    403     200  200   404
curation:experiments         project    POST    log-in    403     302  302   404
curation:experiment          experiment GET     log-in    403     200  200   404
curation:experiment          experiment POST    log-in    403     405  405   404
curation:forecasts           project    GET     log-in    403     200  200   404
curation:forecasts           project    POST    log-in    403     302  302   404
curation:freeze              project    GET     log-in    403     405  405   404
curation:freeze              project    POST    log-in    403     302  302   404
curation:snapshot-list       project    GET     log-in    403     200  200   404
curation:snapshot-list       project    POST    log-in    403     405  405   404
curation:snapshot-detail     snapshot   GET     log-in    403     200  200   404
curation:snapshot-detail     snapshot   POST    log-in    403     405  405   404
curation:snapshot-approve    open       GET     log-in    403     403  405   404
curation:snapshot-approve    open       POST    log-in    403     403  302   404
curation:snapshot-export     snapshot   GET     log-in    403     200  200   404
curation:snapshot-export     snapshot   POST    log-in    403     405  405   404
curation:snapshot-export-start snapshot GET     log-in    403     405  405   404
curation:snapshot-export-start snapshot POST    log-in    403     302  302   404
curation:export-file         export     GET     log-in    403     200  200   404
curation:export-file         export     POST    log-in    403     405  405   404
curation:snapshot-override   open       GET     log-in    403     403  405   404
curation:snapshot-override   open       POST    log-in    403     403  400   404
curation:snapshot-request    open       GET     log-in    403     405  405   404
curation:snapshot-request    open       POST    log-in    403     302  302   404
curation:snapshot-comment    snapshot   GET     log-in    403     405  405   404
curation:snapshot-comment    snapshot   POST    log-in    403     302  302   404
curation:snapshot-again      snapshot   GET     log-in    403     405  405   404
curation:snapshot-again      snapshot   POST    log-in    403     302  302   404
curation:snapshot-changes    untried    GET     log-in    403     200  200   404
curation:snapshot-changes    untried    POST    log-in    403     405  405   404
curation:snapshot-row        snapshot   GET     log-in    403     200  200   404
curation:snapshot-row        snapshot   POST    log-in    403     405  405   404
curation:snapshot-import     project    GET     log-in    403     200  200   404
curation:snapshot-import     project    POST    log-in    403     422  422   404
curation:example-erase       unlabelled GET     log-in    403     403  200   404
curation:example-erase       unlabelled POST    log-in    403     403  302   404
training:run-list            project    GET     log-in    403     200  200   404
training:run-list            project    POST    log-in    403     405  405   404
training:suggest             project    GET     log-in    403     405  405   404
training:suggest             project    POST    log-in    403     302  302   404
training:comparison          snapshot   GET     log-in    403     200  200   404
training:comparison          snapshot   POST    log-in    403     405  405   404
training:critical-slices     project    GET     log-in    403     403  405   404
training:critical-slices     project    POST    log-in    403     403  302   404
training:baseline            untried    GET     log-in    403     405  405   404
training:baseline            untried    POST    log-in    403     302  302   404
training:economics           project    GET     log-in    403     200  200   404
training:economics           project    POST    log-in    403     302  302   404
training:prices              project    GET     log-in    403     403  200   404
training:prices              project    POST    log-in    403     403  302   404
training:price-withdraw      project    GET     log-in    403     403  405   404
training:price-withdraw      project    POST    log-in    403     403  302   404
training:quote               snapshot   GET     log-in    403     403  405   404
training:quote               snapshot   POST    log-in    403     403  302   404
training:train               snapshot   GET     log-in    403     403  200   404
training:train               snapshot   POST    log-in    403     403  302   404
training:train-elsewhere     snapshot   GET     log-in    403     403  405   404
training:train-elsewhere     snapshot   POST    log-in    403     403  302   404
training:prompt-list         project    GET     log-in    403     200  200   404
training:prompt-list         project    POST    log-in    403     405  405   404
training:prompt-new          project    GET     log-in    403     200  200   404
training:prompt-new          project    POST    log-in    403     302  302   404
training:prompt              prompt     GET     log-in    403     200  200   404
training:prompt              prompt     POST    log-in    403     405  405   404
training:prompt-change       prompt     GET     log-in    403     200  200   404
training:prompt-change       prompt     POST    log-in    403     302  302   404
training:prompt-differences  prompt     GET     log-in    403     200  200   404
training:prompt-differences  prompt     POST    log-in    403     405  405   404
training:prompt-try          prompt     GET     log-in    403     405  405   404
training:prompt-try          prompt     POST    log-in    403     400  400   404
training:run                 run        GET     log-in    403     200  200   404
training:run                 run        POST    log-in    403     405  405   404
training:run-live            run        GET     log-in    403     200  200   404
training:run-live            run        POST    log-in    403     405  405   404
training:raise-cap           run        GET     log-in    403     403  405   404
training:raise-cap           run        POST    log-in    403     403  400   404
training:keep-best           run        GET     log-in    403     403  405   404
training:keep-best           run        POST    log-in    403     403  400   404
training:flips               run        GET     log-in    403     200  200   404
training:flips               run        POST    log-in    403     405  405   404
training:run-differences     run        GET     log-in    403     200  200   404
training:run-differences     run        POST    log-in    403     405  405   404
training:pairwise-open       run        GET     log-in    403     405  405   404
training:pairwise-open       run        POST    log-in    403     400  400   404
training:pairwise            pairwise   GET     log-in    403     200  200   404
training:pairwise            pairwise   POST    log-in    403     405  405   404
training:pairwise-judge      pairwise   GET     log-in    403     200  200   404
training:pairwise-judge      pairwise   POST    log-in    403     400  400   404
training:pairwise-ask        pairwise   GET     log-in    403     405  405   404
training:pairwise-ask        pairwise   POST    log-in    403     400  400   404
training:experiment-arms     experiment GET     log-in    403     200  200   404
training:experiment-arms     experiment POST    log-in    403     405  405   404
training:arms-start          experiment GET     log-in    403     403  200   404
training:arms-start          experiment POST    log-in    403     403  302   404
training:bundle              carried    GET     log-in    403     403  405   404
training:bundle              carried    POST    log-in    403     403  200   404
training:result              carried    GET     log-in    403     403  200   404
training:result              carried    POST    log-in    403     403  422   404
training:example-lineage     example    GET     log-in    403     200  200   404
training:example-lineage     example    POST    log-in    403     405  405   404
training:adapter             adapter    GET     log-in    403     200  200   404
training:adapter             adapter    POST    log-in    403     405  405   404
training:promote             adapter    GET     log-in    403     403  405   404
training:promote             adapter    POST    log-in    403     403  302   404
training:run-roll-back       run        GET     log-in    403     403  405   404
training:run-roll-back       run        POST    log-in    403     403  422   404
training:roll-back           adapter    GET     log-in    403     403  405   404
training:roll-back           adapter    POST    log-in    403     403  422   404
training:questions           adapter    GET     log-in    403     403  405   404
training:questions           adapter    POST    log-in    403     403  302   404
training:merge               adapter    GET     log-in    403     403  405   404
training:merge               adapter    POST    log-in    403     403  302   404
training:merged              adapter    GET     log-in    403     404  404   404
training:merged              adapter    POST    log-in    403     405  405   404
training:adapter-card        adapter    GET     log-in    403     200  200   404
training:adapter-card        adapter    POST    log-in    403     405  405   404
training:adapter-file        adapter    GET     log-in    403     200  200   404
training:adapter-file        adapter    POST    log-in    403     405  405   404
serving:live                 project    GET     log-in    403     200  200   404
serving:live                 project    POST    log-in    403     405  405   404
serving:live-rules           project    GET     log-in    403     403  200   404
serving:live-rules           project    POST    log-in    403     403  302   404
serving:live-replay          project    GET     log-in    403     405  405   404
serving:live-replay          project    POST    log-in    403     400  400   404
serving:ab-test-list         project    GET     log-in    403     200  200   404
serving:ab-test-list         project    POST    log-in    403     405  405   404
serving:ab-test-new          project    GET     log-in    403     403  200   404
serving:ab-test-new          project    POST    log-in    403     403  422   404
serving:ab-test              ab_test    GET     log-in    403     200  200   404
serving:ab-test              ab_test    POST    log-in    403     405  405   404
serving:ab-test-stop         ab_test    GET     log-in    403     403  405   404
serving:ab-test-stop         ab_test    POST    log-in    403     403  302   404
serving:ab-test-ship         ab_test    GET     log-in    403     403  405   404
serving:ab-test-ship         ab_test    POST    log-in    403     403  400   404
serving:shadow-start         project    GET     log-in    403     405  405   404
serving:shadow-start         project    POST    log-in    403     302  302   404
serving:shadow               shadow     GET     log-in    403     200  200   404
serving:shadow               shadow     POST    log-in    403     405  405   404
serving:shadow-people        shadow     GET     log-in    403     403  405   404
serving:shadow-people        shadow     POST    log-in    403     403  400   404
serving:drift                project    GET     log-in    403     200  200   404
serving:drift                project    POST    log-in    403     405  405   404
serving:watch-plan           project    GET     log-in    403     200  200   404
serving:watch-plan           project    POST    log-in    403     302  302   404
serving:watch-advice         project    GET     log-in    403     200  200   404
serving:watch-advice         project    POST    log-in    403     405  405   404
serving:look-extra           project    GET     log-in    403     405  405   404
serving:look-extra           project    POST    log-in    403     400  400   404
serving:look                 look       GET     log-in    403     200  200   404
serving:look                 look       POST    log-in    403     405  405   404
serving:proposal             proposal   GET     log-in    403     200  200   404
serving:proposal             proposal   POST    log-in    403     405  405   404
serving:proposal-decide      proposal   GET     log-in    403     403  405   404
serving:proposal-decide      proposal   POST    log-in    403     403  302   404
serving:v1-models            -          GET     401       401     401  401   401
serving:v1-models            -          POST    405       405     405  405   405
serving:v1-chat              -          GET     405       405     405  405   405
serving:v1-chat              -          POST    401       401     401  401   401
serving:v1-predict           project    GET     405       405     405  405   405
serving:v1-predict           project    POST    401       401     401  401   401
serving:v1-feedback          -          GET     405       405     405  405   405
serving:v1-feedback          -          POST    401       401     401  401   401
api:openapi-json             -          GET     log-in    200     200  200   200
api:openapi-json             -          POST    log-in    200     200  200   200
api:openapi-view             -          GET     log-in    200     200  200   200
api:openapi-view             -          POST    log-in    200     200  200   200
api:api-root                 -          GET     log-in    404     404  404   404
api:api-root                 -          POST    log-in    404     404  404   404
healthz                      -          GET     200       200     200  200   200
healthz                      -          POST    200       200     200  200   200
account_login                -          GET     200       302     302  302   302
account_login                -          POST    200       302     302  302   302
account_logout               -          GET     log-in    200     200  200   200
account_logout               -          POST    log-in    302     302  302   302
account_change_password      -          GET     log-in    200     200  200   200
account_change_password      -          POST    log-in    200     200  200   200
"""
BY_KEY = ("serving:v1-models", "serving:v1-chat", "serving:v1-predict", "serving:v1-feedback")  # no cookie counts
ADMIN = "admin:"  # Django's own pages, of all names that begin so: for superusers, 403 for everybody else
# Of the API only the description stands here; its operations, and who may call them: tests/api/test_rights.py
DESCRIPTION = ("api:openapi-json", "api:openapi-view", "api:api-root")


@dataclass(frozen=True)
class Row:
    url: str
    object: str
    method: str
    expected: dict[str, str]  # caller → status, or log-in


ROWS = [Row(url, object, method, dict(zip(CALLERS, statuses, strict=True)))
        for url, object, method, *statuses in map(str.split, TABLE.strip().splitlines()[1:])]


# The world that the table is about

@dataclass
class World:
    """Alice's project Moods with one of everything, its callers, and what a sensible POST says."""

    people: dict[str, User]
    objects: dict[str, int]
    posts: dict[str, dict[str, Any]]
    sessions: dict[str, str] = field(default_factory=dict)

    def url(self, row: Row) -> str:
        numbers = [self.objects[row.object]] if row.object != "-" else []
        more: dict[str, list[Any]] = {"training:adapter-file": ["adapter_config.json"], "curation:snapshot-row": [0]}
        name = more.get(row.url, [])
        return reverse(row.url, args=[*numbers, *name])

    def client(self, caller: str, **options: Any) -> Client:
        """A browser in which the caller is logged in: once, as logging in takes as long as many an answer."""
        client = Client(**options)
        if caller != "anonymous":
            if caller not in self.sessions:
                client.force_login(self.people[caller])
                self.sessions[caller] = client.cookies[settings.SESSION_COOKIE_NAME].value
            client.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[caller]
        return client

    def answer(self, row: Row, caller: str, **options: Any) -> HttpResponse:
        """The response, and then everything as it was before."""
        client = self.client(caller, **options)
        with transaction.atomic():
            data = self.posts.get(row.url, {}) if row.method == "POST" else {}
            response = client.generic(row.method, self.url(row)) if row.method == "GET" else client.post(
                self.url(row), data)
            transaction.set_rollback(True)
        return response  # type: ignore[return-value]


def seen(response: HttpResponse) -> str:
    to_log_in = response.headers.get("Location", "").startswith(f"{reverse('account_login')}?next=")
    return "log-in" if to_log_in else str(response.status_code)


def mismatches(world: World, rows: list[Row], callers: tuple[str, ...] = CALLERS) -> list[str]:
    """What answers otherwise than the table says, in words."""
    return [f"{row.method} {row.url} by {caller}: {got}, the table says {row.expected[caller]}"
            for row in rows for caller in callers
            if (got := seen(world.answer(row, caller))) != row.expected[caller]]


SERVER: list[FakeLabelStudio] = []
NOWHERE = "https://127.0.0.1:1"  # a port that nobody listens at, for what would be sent out


def the_server(url: str, token: str) -> FakeLabelStudio:
    return SERVER[0]


def a_token(url: str, email: str, password: str) -> str:
    return "token"


@pytest.fixture
def world(project: Project, alice: User, bob: User, charlie: User, dora: User, settings: Any) -> World:
    SERVER[:] = [FakeLabelStudio()]
    settings.GOLDPAN_LABEL_STUDIO_CLIENT, settings.GOLDPAN_LABEL_STUDIO_BOOTSTRAP = (
        f"{__name__}.the_server", f"{__name__}.a_token")
    for user in (alice, bob, charlie, dora):
        user.set_password("a password of their own")
        user.save()
    report = scored(project)
    save_rule(gold_set_of(project), size=15, min_quality=0, min_per_label=1, allow_flagged=False, seed=0, by=bob)
    snapshot, untried, still_open = (frozen(project, bob) for _ in range(3))
    for one in (snapshot, untried):
        approve_snapshot(one, sha256=one.sha256, approver=alice)
    run, adapter = trained(snapshot, alice, settings)
    settings.GOLDPAN_BASE_MODEL = settings.GOLDPAN_DATA / "model-of-the-rights"
    settings.GOLDPAN_BASE_MODEL.mkdir(exist_ok=True)
    (settings.GOLDPAN_BASE_MODEL / "model.safetensors").write_bytes(b"weights")
    carried = Run.objects.create(snapshot=snapshot, kind="lora", job=run.job, created_by=alice, executor="bundle",
                                 config=run.config)
    talked_about, decided = report.scores.filter(example__split="pool").order_by("-pk")[1:3]
    decide(talked_about.example, verdict="discuss", reason="Which?", by=bob, report=report)
    view = save_view(project, {"view": "all"}, name="Everything", is_shared=True, by=bob)
    bulk = decide_all(project, Filter(view="all", cluster=decided.cluster), seen=look_at(
        Queue(report, Filter(view="all", cluster=decided.cluster))).seen, action="exclude", by=bob)
    Decision.objects.bulk_create(Decision(example=example, verdict="exclude", decided_by=by) for example, by in zip(
        Example.objects.filter(project=project, split="pool"), (bob, alice), strict=False))
    score = report.scores.filter(is_label_issue=True).get()
    desk = Desk.objects.create(
        project=project, annotator=Annotator.objects.create(project=project, name="charlie", user=charlie),
        url=settings.GOLDPAN_LABEL_STUDIO_URL, ls_project_id=1, config_sha256="0" * 64, instructions_version=1,
        webhook_secret="the secret")
    batch = Batch.objects.create(project=project, number=1, title="labels", created_by=bob)
    handed_out = Batch.objects.create(project=project, number=2, title="night", vendor="Works", created_by=bob)
    aside, sent = Example.objects.filter(project=project, split="pool")[:2]
    BatchItem.objects.create(batch=batch, example=aside, n_wanted=1, is_set_aside=True)
    BatchItem.objects.create(batch=handed_out, example=sent, n_wanted=1)
    known = KnownAnswer.objects.create(project=project, example=sent, value="neutral", added_by=bob)
    paused = Annotator.objects.create(project=project, name="erin", paused_at=timezone.now(), paused_because="ill")
    upload = Upload.objects.create(
        project=project, name="more.csv", kind="examples", format="csv",
        mapping={"key_column": "id", "text_column": "text"}, sha256=put_object(
            settings.GOLDPAN_OBJECTS, b"id,text\nnew,a new text\n"), n_good=1, created_by=bob,
        bad_sha256=put_object(settings.GOLDPAN_OBJECTS, b"line,reason,row\n"))
    job = jobs.enqueue("score", project, title="Waiting", requested_by=bob)
    failed = Job.objects.create(project=project, kind="score", title="Failed", state="failed",
                                finished_at=timezone.now())
    example = Example.objects.filter(project=project).first()
    assert example is not None
    start_map(project, by=bob, wake=False)
    jobs.run(Job.objects.get(kind="map").pk, heartbeat=False)
    drawn = Map.objects.get()
    every_id = np.array(Example.objects.filter(project=project).values_list("pk", flat=True))
    picked = create_selection(project, every_id, by=bob, drawn=drawn)
    unlabelled = Example.objects.create(project=project, key="lone", text="a lone text", data={}, split="pool",
                                        content_sha256="f" * 64, group="lone")
    export = Job.objects.create(
        project=project, kind="export", title="Exported", state="succeeded", finished_at=timezone.now(),
        params={"snapshot": snapshot.pk, "format": "csv"}, result={"sha256": put_object(
            settings.GOLDPAN_OBJECTS, b"a file")})
    prompt = write_prompt(project, name="tone", words=starting_words(project), note="", by=bob)
    experiment = new_experiment(project, by=bob, report=report)
    first, second = Evaluation.objects.filter(snapshot=snapshot, split="test").order_by("pk")
    pairwise = PairwiseEvaluation.objects.create(first=first, second=second, seed=0, created_by=bob)
    look, proposal = watched(run, adapter)
    told = notify(project, "run.finished", title="Told", link="/", data={"run": 1, "adapter": 1})
    assert told is not None
    settings.GOLDPAN_ALLOWED_ORIGINS = [NOWHERE]
    webhook, _ = create_webhook(project, url=NOWHERE, events=["job.failed"], by=alice)
    key, _ = create_api_key(project, name="nightly", scopes=["read"], by=alice)
    publish_guideline(project, text="Say the mood you hear.", note="Tone.", by=bob, seen=1, changes_all=True)
    return World(
        people={"alice": alice, "bob": bob, "charlie": charlie, "dora": dora},
        objects={"project": project.pk, "example": example.pk, "upload": upload.pk, "desk": desk.pk, "batch": batch.pk,
                 "handed_out": handed_out.pk, "known": known.pk, "annotator": desk.annotator_id, "paused": paused.pk,
                 "job": job.pk, "failed_job": failed.pk, "snapshot": snapshot.pk, "untried": untried.pk,
                 "open": still_open.pk, "unlabelled": unlabelled.pk, "export": export.pk, "map": drawn.pk,
                 "selection": picked.pk, "experiment": experiment.pk, "run": run.pk, "adapter": adapter.pk,
                 "carried": carried.pk, "prompt": prompt.pk, "pairwise": pairwise.pk, "view": view.pk,
                 "bulk": bulk.pk, "bobs_item": InboxItem.objects.get(notice=told, user=bob).pk,
                 "webhook": webhook.pk, "key": key.pk, "disputed": score.example_id,
                 "talked_about": talked_about.example_id, "look": look.pk, "proposal": proposal.pk,
                 **an_ab_test(project, run, adapter, alice)},
        posts={
            "projects:members": {"name": "dora", "role": "annotator"},
            "projects:mail": {"address": "no address"}, "projects:webhook-state": {"state": "paused"},
            "projects:webhooks": {"url": "https://hooks.example.org", "events": ["job.failed"]},
            "projects:webhook-edit": {"url": "https://hooks.example.org", "events": ["job.failed"]},
            "projects:keys": {"name": "weekly", "scopes": ["read"], "days": 30},
            "labeling:upload-import": {"skip_bad": "on"},
            "labeling:batch-create": {"title": "more", "n_labels": 1, "overlap_share": 0, "overlap_labels": 1,
                                      "max_labels": 1, "skips": "next_person"},
            "labeling:batch-state": {"state": "paused"},
            "labeling:rules": {"open_limit": 9, "reservation_hours": 9, "honeypot_share": 5, "honeypot_floor": 85,
                               "exam_size": 0, "exam_pass": 80, "hidden_share": 20, "hourly_wage": 0,
                               "currency": "EUR"},
            "labeling:annotator-pause": {"because": "on holiday"},
            "curation:decide": {"score": score.pk, "seen": 0, "verdict": "exclude"},
            "curation:save-view": {"name": "Mine"}, "curation:message": {
                "score": talked_about.pk, "text": "Neutral, I think."},
            "curation:bulk-decide": {"action": "exclude", **asdict(look_at(Queue(report, Filter())).seen)},
            "curation:adjudicate-settle": {"example": score.example_id, "seen": 0, "verdict": "exclude",
                                           "cause": "slip"},
            "curation:duplicates-settle": {"cluster": repeated(report).pk, "verdict": "keep_all"},
            "curation:pairs-judge": {"answer": "undo"}, "training:pairwise-judge": {"choice": "undo"},
            "training:pairwise-open": {"with": run.pk},
            "curation:guideline-edit": {"text": "Say it.", "note": "Shorter.", "scope": "wording", "seen": 2},
            "curation:gold-set": {"size": 5, "min_quality": 0, "min_per_label": 1, "seed": 0},
            "curation:map-select": {"rows": base64.b64encode(b"\xff" * -(-drawn.n_points // 8)).decode()},
            "curation:selection-batch": {"title": "more", "n_labels": 1, "overlap_share": 0, "overlap_labels": 1,
                                         "max_labels": 1, "skips": "next_person"},
            "curation:next-labels": {"n": 5, "target": 0.9, "cap": 5},
            "curation:snapshot-override": {"name": "balance", "n": 1, "reason": "why not"},
            "curation:snapshot-comment": {"text": "Well."},
            "curation:snapshot-export-start": {"format": "csv"},
            "curation:example-erase": {"reason": "Somebody asked.", "sure": "on"},
            "curation:snapshot-approve": {"sha256": still_open.sha256, "decision": "refused", "comment": "Not yet."},
            "training:economics": {"requests": "100", "months": "12", "value": "0.5"},
            "training:prices": {"kind": "machine", "name": "a box", "currency": "EUR", "per_hour": "1",
                                "since": "2026-01-01", "source": "a bill"},
            "training:price-withdraw": {"price": prices()[0].pk}, "training:quote": training_defaults(),
            "training:train": {"override_reason": "why not", "quote": quote_of(snapshot, alice).pk},
            "training:train-elsewhere": {"override_reason": "why not", "executor": "bundle"} | training_defaults(),
            "training:raise-cap": {"cap_minutes": "9"},
            "training:arms-start": {"arms": [0, 1], "n_seeds": 3, "budget": "steps", "steps": 60} | training_defaults(),
            "training:prompt-new": {"name": "mine", "system": "Say it.", "instruction": "{text}", "examples": "none"},
            "training:prompt-change": {"system": "Say it well.", "instruction": "{text}", "examples": "none",
                                       "note": "Shorter."},
            "training:promote": {"override_reason": "why not"},
            "serving:ab-test-stop": {"reason": "why not"}, "serving:ab-test-ship": {"reason": "why not"},
            "serving:live-rules": {"sample_share": "0.5", "retention_days": "9", "key_limit": "9",
                                   "project_limit": "9"},
            "serving:watch-plan": {"cadence": "monthly", "labels": "60", "uniform_share": "0.7", "retrain_weeks": "13",
                                   "is_on": "on", "reason": "Less traffic."},
            "serving:proposal-decide": {"verdict": "approve"}})


def watched(run: Run, adapter: Adapter) -> tuple[Look, TrainingProposal]:
    """A look at what the adapter answered, of which nothing is known yet, and a proposal to train again."""
    project, now = run.project, timezone.now()
    deployment = Deployment.objects.create(project=project, slot="champion", run=run, adapter=adapter,
                                           backend="embedded")
    plan = WatchPlan.objects.create(project=project, began_at=now, reason="By the defaults.")
    job = Job.objects.create(project=project, kind="look", title="Drawn", state="succeeded", finished_at=now)
    look = Look.objects.create(
        project=project, number=1, deployment=deployment, plan=plan, since=now.date() - timedelta(days=7),
        until=now.date(), floor=0.8, floor_words="Your target.", n_answered=0, n_kept=0, n_eligible=0, words=[],
        job=job)
    return look, TrainingProposal.objects.create(project=project, deployment=deployment, look=look,
                                                 reasons=["Why not."])


def an_ab_test(project: Project, run: Run, adapter: Adapter, by: User) -> dict[str, int]:
    """An A/B test that runs, and a shadow."""
    best = run.snapshot.verdict.best_prompt
    champion = Deployment.objects.create(project=project, slot="champion", run=best, backend="embedded")
    challenger = Deployment.objects.create(project=project, slot="named", run=run, adapter=adapter, backend="embedded")
    both = {"champion": champion, "challenger": challenger, "project": project}
    test = Experiment.objects.create(
        **both, salt="s", share=0.5, outcome="thumb", n_max=900, slow_seconds=5, started_by=by,
        size={"base": 0.8, "difference": 0.05, "feedback_rate": 0.03, "units_a_week": 1000})
    job = Job.objects.create(project=project, kind="shadow", title="Asked both", state="succeeded",
                             finished_at=timezone.now())
    shadow = Shadow.objects.create(**both, job=job, n=10, n_differing=2, n_unreadable=[0, 0], seconds=[0.1, 0.1],
                                   seed=0)
    return {"ab_test": test.pk, "shadow": shadow.pk}


def repeated(report: QualityReport) -> DuplicateCluster:
    """A group of duplicates: two examples of the pool."""
    one, other = report.project.examples.filter(split="pool")[:2]
    cluster = DuplicateCluster.objects.create(
        report=report, place=1000, what="other", kind="semantic", centre=one, size=2, n_held_out=0, n_to_exclude=1,
        similarity=0.97, n_labels=1, urgency=0, members_sha256="0" * 64)
    DuplicateMember.objects.create(cluster=cluster, example=one, similarity=1, kind="exact")
    DuplicateMember.objects.create(cluster=cluster, example=other, similarity=0.97, kind="semantic")
    return cluster


def scored(project: Project) -> QualityReport:
    """Eighteen pool examples with a label, one of which looks wrong, and six held-out ones with three labels each."""
    people = [Annotator.objects.create(project=project, name=f"annotator {n}") for n in range(3)]
    before = timezone.now()
    report = QualityReport.objects.create(
        project=project, job=Job.objects.create(project=project, kind="score", title="Scored"), encoder="none",
        n_examples=24, n_scored=18, n_issues=1, n_clusters=0, n_crossing=0, duplicate_threshold=0.95)
    for number in range(24):
        split = "pool" if number < 18 else "dev" if number < 20 else "test"
        label = project.labels[number % 3]
        example = Example.objects.create(project=project, key=f"e{number}", text=f"text {number}", data={}, split=split,
                                         content_sha256=f"{number:064x}", group=str(number))
        Annotation.objects.bulk_create(Annotation(
            example=example, annotator=person, value=label, source="file", instructions_version=1,
            created_at=before) for person in people[:1 if split == "pool" else 3])
        ExampleScore.objects.create(
            report=report, example=example, label=label if split == "pool" else "", n_labels=1, cluster=number,
            cluster_size=1, label_quality=0.9 if split == "pool" else None, is_label_issue=number == 11)
    return report


def frozen(project: Project, by: User) -> Snapshot:
    job = start_freeze(project, by=by)
    jobs.run(job.pk, heartbeat=False)
    job.refresh_from_db()
    return Snapshot.objects.get(pk=job.result["snapshot"])


def trained(snapshot: Snapshot, by: User, settings: Any) -> tuple[Run, Adapter]:
    """A prompt, a verdict and an evaluated LoRA run without a model behind them."""
    test = read_rows(snapshot, "test")
    said = [row.label for row in test]
    done = Job.objects.create(project=snapshot.project, kind="train", title="Trained", state="succeeded",
                              finished_at=timezone.now())
    schema = snapshot.project.schema
    prompt = Run.objects.create(snapshot=snapshot, kind="zero_shot", job=done, created_by=by,
                                config={"prompt": prompt_to_json(zero_shot(schema, "Say the mood."))})
    lora = Run.objects.create(snapshot=snapshot, kind="lora", job=done, created_by=by, config={
        "prompt": prompt_to_json(short(schema)), "training": training_defaults()})
    for run, predicted in ((prompt, [None] * len(said)), (lora, said)):
        write_evaluation(run, "test", judge(snapshot.project, test, predicted), seconds=1.0, extra={})
    Verdict.objects.create(snapshot=snapshot, best_prompt=prompt, outcome="FINE_TUNE", target_metric="accuracy",
                           target_value=0.8, lower=0.0, upper=0.5, words="No.", next_step="Train.")
    config = put_object(settings.GOLDPAN_OBJECTS, json.dumps({"base_model_name_or_path": "tiny@sha256:0"}).encode())
    receipt = {"steps": 1, "train_seconds": 1.0, "dev_seconds": 1.0, "tokens": 10, "peak_mb": 1.0, "loss_first": 1.0,
               "loss_last": 0.5, "n_rows": 9, "refused": [], "resumed_from": 0, "best_step": 1, "epochs": [],
               "versions": {}}
    adapter = Adapter.objects.create(project=snapshot.project, run=lora, files={"adapter_config.json": config},
                                     receipt=receipt, metrics_sha256=put_object(settings.GOLDPAN_OBJECTS, b""))
    return lora, adapter


def quote_of(snapshot: Snapshot, by: User) -> Quote:
    """A quote for a training with the defaults, as if steps had been tried."""
    config = run_config(snapshot, training_defaults())
    job = Job.objects.create(project=snapshot.project, kind="quote", title="Quoted", state="succeeded",
                             finished_at=timezone.now())
    return Quote.objects.create(
        snapshot=snapshot, job=job, config=config, config_sha256=config_sha256(snapshot, config), seconds=9.0,
        seconds_low=8.0, seconds_high=10.0, cpu_seconds=9.0, peak_mb=99.0, n_steps=3, currency="USD", cap_seconds=60.0,
        labour={"labels": 9, "hours": None, "money": None}, trial=TRIAL, elsewhere=[], created_by=by,
        words=["It takes 9 s.", "It stops."])


def training_defaults() -> dict[str, Any]:
    from training.config import TrainingConfig

    return asdict(TrainingConfig())


# The table

def test_every_url_answers_every_caller_as_the_table_says(world: World) -> None:
    wrong = mismatches(world, ROWS)
    assert not wrong, f"{len(wrong)} of {len(ROWS) * len(CALLERS)} answers\n" + "\n".join(wrong)


def routes(patterns: list[Any] | None = None, names: tuple[str, ...] = ()) -> Iterator[tuple[str, URLPattern]]:
    """Every route as (name with its namespaces, pattern); a name that ends with ":" or is empty is none."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, (*names, *([pattern.namespace] if pattern.namespace else [])))
        else:
            yield ":".join((*names, pattern.name or "")), pattern


OURS = {name: pattern for name, pattern in routes()
        if not name.startswith(ADMIN) and (name in DESCRIPTION or policy_of(pattern.callback, name) != API)}


def test_every_route_is_in_the_table() -> None:
    nameless = [str(pattern.pattern) for name, pattern in OURS.items() if name.endswith(":") or not name]
    assert not nameless, f"routes without a name: {nameless}"
    listed = {row.url for row in ROWS}
    assert set(OURS) - listed == set(), "these routes have no row"
    assert listed - set(OURS) == set(), "these rows have no route"
    assert sorted((row.url, row.method) for row in ROWS) == sorted(
        (name, method) for name in OURS for method in ("GET", "POST"))


def test_every_route_has_a_declared_policy() -> None:
    policies = {name: policy_of(pattern.callback, name) for name, pattern in routes()}
    assert not [name for name, policy in policies.items() if policy is None]
    unknown = {policy for policy in policies.values() if policy not in {
        *MAY, FOUNDER, PUBLIC, SIGNED_IN, SUPERUSER, API}}
    assert not unknown, f"policies that rights.MAY does not know: {unknown}"
    assert {name for name, policy in policies.items() if policy == PUBLIC} == {
        "healthz", "account_login", "labeling:webhook", *BY_KEY}
    assert {name for name, policy in policies.items() if policy == SUPERUSER} == {
        name for name, _ in routes() if name.startswith(ADMIN)}


def test_a_view_without_a_policy_is_refused(alice: User, client_of: Callable[[User], Client],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(OURS["home"].callback, "policy")
    assert client_of(alice).get("/").status_code == 403


def test_every_write_needs_the_pages_token(world: World) -> None:
    """Only Label Studio's webhook and what programs ask have none, and those need a secret."""
    for row in ROWS:
        writes = row.method == "POST" and row.expected["alice"] != "405"
        if writes and row.url not in ("labeling:webhook", "healthz", *BY_KEY):
            caller = "anonymous" if row.url == "account_login" else "alice"
            assert seen(world.answer(row, caller, enforce_csrf_checks=True)) == "403", row.url


def test_the_webhook_takes_its_own_secret_only(world: World) -> None:
    url = reverse("labeling:webhook", args=[world.objects["desk"]])
    for secret, status in (("the secret", 202), ("the secret ", 401), ("", 401), ("другой", 401)):
        assert Client().post(url, headers={"Authorization": f"Bearer {secret}"}).status_code == status
    nobodys = reverse("labeling:webhook", args=[10**9])
    assert Client().post(nobodys, headers={"Authorization": "Bearer "}).status_code == 401


# Django's admin: one line, superusers only

def test_the_admin_is_for_superusers_only(world: World) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    root = User.objects.create_superuser("root")
    world.people |= {"staff": staff, "root": root}
    for name, for_root in (("admin:index", "200"), ("admin:auth_user_changelist", "200"), ("admin:jsi18n", "200"),
                           ("admin:auth_user_add", "403"), ("admin:projects_project_add", "403")):
        row = Row(name, "-", "GET", {"anonymous": "log-in", "root": for_root} | dict.fromkeys(
            ("charlie", "bob", "alice", "dora", "staff"), "403"))
        assert mismatches(world, [row], tuple(row.expected)) == []


def test_a_superuser_without_a_role_sees_no_project(world: World) -> None:
    """Django's admin is another door; in Goldpan itself only a membership counts."""
    world.people["root"] = User.objects.create_superuser("root")
    for row in ROWS:
        if row.expected["dora"] == "404":
            assert seen(world.answer(row, "root")) == "404", f"{row.method} {row.url}"


# That the table would notice

def everything(self: Any, user: Any) -> Any:
    return self.all()


def test_a_missing_visible_to_would_be_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = [row for row in ROWS if row.expected["dora"] == "404" and row.object != "-"]
    for queryset in (ProjectQuerySet, OfProjectQuerySet, InboxQuerySet, RunQuerySet, PairwiseQuerySet):
        monkeypatch.setattr(queryset, "visible_to", everything)
    assert mismatches(world, hidden, ("dora",)) == [
        f"{row.method} {row.url} by dora: 403, the table says 404" for row in hidden], "the role is a second wall"


def test_a_missing_role_check_would_be_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = [row for row in ROWS if row.expected["charlie"] == "403"]
    monkeypatch.setattr(rights, "require", lambda user, action, project: None)
    monkeypatch.setattr(rights, "may_found", lambda user: True)
    assert len(mismatches(world, forbidden, ("charlie",))) == len(forbidden)


def test_a_table_that_says_200_for_dora_fails(world: World) -> None:
    row = next(row for row in ROWS if row.url == "jobs:job" and row.method == "GET")
    wrong = Row(row.url, row.object, row.method, {**row.expected, "dora": "200"})
    assert mismatches(world, [wrong]) == ["GET jobs:job by dora: 404, the table says 200"]


# @on by itself

@on(Project, "train")
def a_view(request: Any, project: Project) -> HttpResponse:
    return HttpResponse(str(project))


def ask(user: User, pk: int) -> HttpResponse:
    request = RequestFactory().get("/")
    request.user = user
    return a_view(request, pk)


def test_a_view_gets_the_object_that_its_caller_may_use(
        project: Project, alice: User, bob: User, charlie: User, dora: User) -> None:
    assert ask(alice, project.pk).content == b"Moods"
    for user in (bob, charlie):
        with pytest.raises(PermissionDenied, match="role admin in “Moods”"):
            ask(user, project.pk)
    for pk in (project.pk, 10**9):
        with pytest.raises(Http404):
            ask(dora, pk)


def test_a_role_that_was_taken_away_counts_at_once(project: Project, alice: User) -> None:
    project.memberships.filter(user=alice).delete()
    with pytest.raises(Http404):
        ask(alice, project.pk)


def test_an_action_that_nobody_declared_is_refused_when_the_view_is_written() -> None:
    with pytest.raises(KeyError, match="declare “fly”"):
        on(Project, "fly")(a_view)


def test_a_curator_may_what_an_annotator_may_and_an_admin_everything() -> None:
    for action, roles in MAY.items():
        assert Role.admin in roles, action
        assert Role.annotator not in roles or Role.curator in roles, action


# As written down for people

def test_security_md_names_every_url_with_its_policy() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    listed = dict(re.findall(r"^\| `(\S+)` \| `\S+` \| (\w+) \|", text, re.MULTILINE))
    assert listed.pop(f"{ADMIN}*") == SUPERUSER
    assert listed == {name: policy_of(pattern.callback, name) for name, pattern in OURS.items()}
    paths = dict(re.findall(r"^\| `(\S+)` \| `/(\S*)` \|", text, re.MULTILINE))
    assert paths == {name: full_path(name) for name in OURS} | {f"{ADMIN}*": "admin/…"}
    who = dict(re.findall(r"^\| `(\S+)` \| `\S+` \| \w+ \| ([^|]+) \|$", text, re.MULTILINE))
    for name, pattern in OURS.items():
        policy = policy_of(pattern.callback, name) or ""
        said = {PUBLIC: "everybody", SIGNED_IN: "whoever is logged in",
                FOUNDER: "superusers, admins of any project"}.get(policy) or ", ".join(MAY[policy])
        assert who[name] == said, name


def full_path(name: str) -> str:
    """The route without converters: projects/<pk>/jobs/."""
    found = str(OURS[name].pattern)
    return re.sub(r"<\w+:(\w+)>", r"<\1>", found)
