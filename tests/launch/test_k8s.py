"""What the script for Kubernetes creates: checked against the schemas of Kubernetes and JobSet, and
run as a container would."""

import json
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys

from kubeflow_trainer_api import models
import kubernetes_validate
import pytest
import yaml

from whyjax.errors import UserError
from whyjax.sweep.local import RunsFailed
from whyjax.training import processes
from whyjax.training.interrupt import Preempted

ROOT = Path(__file__).parents[2]
K8S = ROOT / 'launch/k8s/run.sh'
VERSION = '1.31'  # the earliest of Kubernetes that will do
HARD = [
  '--config=configs/smoke.py:tpu',
  '--config.question=what\'s "it" to $YOU, $(date), $$, {{JOB}}?\nNo & \\ * `that` \U0001f642',
  '--workdir=runs/a b',
]  # fmt: skip
PLACES = [
  {},
  {'GPUS': '8'},
  {'GPUS': '8', 'HOSTS': '2', 'NODES': 'cloud.google.com/gke-spot=true,a.b/c=d', 'QUEUE': 'team'},
  {'TPU': 'v5e:2x4'},
  {'TPU': 'v5e:4x4', 'QUEUE': 'team', 'MAX_RESTARTS': '3'},
  {'TPU': 'v4:2x2x4', 'NAME': 'a-name-of-thirty-characters-xx'},
]
COMMAND = """#!{python}
import json, os, sys
said = sys.stdin.read() if '--filename=-' in sys.argv else ''
if sys.argv[-1] == '-':
  sys.stdin.buffer.read()  # the archive of an image
with open(os.environ['RECORD'], 'a') as file:
  file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:], said]) + chr(10))
if sys.argv[1:3] == ['get', 'jobset']:
  print(os.environ.get('OVER', ''), end='')
if sys.argv[1] == 'exec':
  os.execvp(sys.argv[4], sys.argv[4:])
if sys.argv[1] == '-m':
  sys.exit(int(os.environ.get('CODE', 0)))
"""


@pytest.fixture(name='calls')
def _calls(tmp_path, monkeypatch):
  """Puts stand-ins on the PATH; returns a function that reads what they were asked."""
  (tmp_path / 'bin').mkdir()
  for name in ('kubectl', 'docker', 'python'):
    (tmp_path / 'bin' / name).write_text(COMMAND.format(python=sys.executable))
    (tmp_path / 'bin' / name).chmod(0o755)
  (tmp_path / 'record').touch()
  monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:{os.environ["PATH"]}')
  monkeypatch.setenv('RECORD', str(tmp_path / 'record'))
  monkeypatch.setenv('IMAGE', 'registry/whyjax:1')
  monkeypatch.setenv('PYTHON', sys.executable)
  return lambda: [json.loads(line) for line in (tmp_path / 'record').read_text().splitlines()]


@pytest.fixture(name='expands')
def _expands(tmp_path) -> str:
  """An interpreter whose program says that level 1 is of the runs 1, 2 and 5."""
  says = tmp_path / 'expands'
  says.write_text('#!/bin/sh\necho "0 0,3"\necho "1 1-2,5"\n')
  says.chmod(0o755)
  return str(says)


def call(*arguments, script=K8S, **env):
  return subprocess.run(
    [script, *arguments],
    env=os.environ | env,
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )


def checkout(folder: Path) -> None:
  """Makes a repository of the scripts alone."""
  shutil.copytree(ROOT / 'launch', folder / 'launch')
  commit = '-c user.name=n -c user.email=e commit --quiet --message=m'
  for command in ('init --quiet', 'add launch', commit):
    subprocess.run(['git', *command.split()], cwd=folder, check=True)


def created(calls, *arguments, **env) -> dict:
  """The object that is given to kubectl."""
  ended = call(*arguments, **env)
  assert ended.returncode == 0, ended.stderr
  (said,) = [c[-1] for c in calls()[-8:] if c[:2] == ['kubectl', 'create']][-1:]
  return yaml.safe_load(said)


def jobs(jobset: dict) -> dict[str, dict]:
  """The specs of its jobs, by name."""
  return {job['name']: job['template']['spec'] for job in jobset['spec']['replicatedJobs']}


def container(job: dict) -> dict:
  (found,) = job['template']['spec']['containers']
  return found


def check(jobset: dict) -> None:
  """Checks a JobSet and its jobs against the schemas: no field unknown, none of another type."""
  model = models.JobsetV1alpha2JobSet.from_dict(jobset)
  kept = json.loads(model.to_json())
  assert set(jobset) <= set(kept) and set(jobset['spec']) <= set(kept['spec'])
  for path in ('metadata', 'failurePolicy'):
    mine = jobset[path] if path in jobset else jobset['spec'][path]
    assert (kept[path] if path in kept else kept['spec'][path]) == mine
  for job, kept_job in zip(
    jobset['spec']['replicatedJobs'], kept['spec']['replicatedJobs'], strict=True
  ):
    assert set(job) <= set(kept_job) and job['dependsOn'] == kept_job['dependsOn']
    head = {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': job['name']}}
    kubernetes_validate.validate(head | {'spec': job['template']['spec']}, VERSION, strict=True)


def expanded(text: str, env: dict[str, str]) -> str:
  """A word of a command as Kubernetes reads it: $(NAME) is a variable, $$ a dollar."""
  return re.sub(
    r'\$\$|\$\((\w+)\)', lambda m: '$' if m[0] == '$$' else env.get(m[1] or '', m[0]), text
  )


def program(job: dict, index: int, calls) -> list[str]:
  """The arguments that the program has in the pod with this index."""
  env = {'JOB_COMPLETION_INDEX': str(index)}
  words = [expanded(w, env) for w in container(job)['command'] + container(job)['args']]
  subprocess.run(words, env=os.environ | env, check=True)
  assert calls()[-1][:3] == ['python', '-m', 'whyjax.main']
  return calls()[-1][3:-1]


@pytest.mark.parametrize('place', PLACES)
def test_a_run_is_a_valid_jobset_whose_program_has_its_arguments(calls, place):
  jobset = created(calls, 'create', *HARD, **place)
  check(jobset)
  assert list(jobs(jobset)) == ['hosts']
  for index in (0, 1):
    assert program(jobs(jobset)['hosts'], index, calls) == HARD
  labels = {'kueue.x-k8s.io/queue-name': 'team'} if 'QUEUE' in place else {}
  assert jobset['metadata']['labels'] == labels
  assert jobset['spec']['failurePolicy']['maxRestarts'] == int(place.get('MAX_RESTARTS', 20))


@pytest.mark.parametrize(
  'tpu, hosts, chips, accelerator',
  [
    ('v5e:1x1', 1, 1, 'tpu-v5-lite-podslice'),
    ('v5e:2x4', 1, 8, 'tpu-v5-lite-podslice'),
    ('v5e:16x16', 64, 4, 'tpu-v5-lite-podslice'),
    ('v6e:4x4', 4, 4, 'tpu-v6e-slice'),
    ('v4:2x2x1', 1, 4, 'tpu-v4-podslice'),
    ('v5p:2x2x2', 2, 4, 'tpu-v5p-slice'),
    ('v5p:4x8x12', 96, 4, 'tpu-v5p-slice'),
  ],
)
def test_a_slice_has_a_pod_for_each_host_with_its_chips(calls, tpu, hosts, chips, accelerator):
  jobset = created(calls, 'create', '--config=a.py', TPU=tpu)
  job = jobs(jobset)['hosts']
  assert (job['completions'], job['parallelism'], job['completionMode']) == (
    hosts,
    hosts,
    'Indexed',
  )
  assert container(job)['resources'] == {'limits': {'google.com/tpu': chips}}
  assert container(job)['env'] == []  # JAX finds the others by what GKE says
  assert job['template']['spec']['nodeSelector'] == {
    'cloud.google.com/gke-tpu-accelerator': accelerator,
    'cloud.google.com/gke-tpu-topology': tpu.split(':')[1],
  }
  # Of several slices of one shape a program must not get hosts of two.
  assert bool(jobset['metadata']['annotations']) == (hosts > 1)


def test_processes_on_gpus_are_told_how_to_find_each_other(calls):
  jobset = created(calls, 'create', '--config=a.py', GPUS='8', HOSTS='2', NAME='n')
  env = {e['name']: e.get('value') for e in container(jobs(jobset)['hosts'])['env']}
  assert env.pop('JAX_PROCESS_ID') is None  # of each pod its own
  # JobSet names a host SET-JOB-INDEX-POD, in a domain that has the name of the set.
  assert env == {'JAX_COORDINATOR_ADDRESS': 'n-hosts-0-0.n:8476', 'JAX_NUM_PROCESSES': '2'}
  alone = created(calls, 'create', '--config=a.py', GPUS='8')
  assert container(jobs(alone)['hosts'])['env'] == []


def ends(job: dict, code: int, disrupted: bool = False) -> str:
  """What Kubernetes does when a pod ends with an exit code: the first rule that fits."""
  for rule in job['podFailurePolicy']['rules']:
    if 'onPodConditions' in rule and disrupted:
      return rule['action']
    if 'onExitCodes' in rule and code in rule['onExitCodes']['values']:
      return rule['action']
  return 'Count'


def test_exit_codes_of_the_program_decide_what_starts_again(calls):
  run = created(calls, 'create', '--config=a.py')
  sweep = created(calls, 'sweep', '--config=tests/tiny.py')
  stopped = Preempted('', 15).exit_code
  for jobset, fault in ((run, 'FailJob'), (sweep, 'FailIndex')):
    for name, job in jobs(jobset).items():
      fails = 'FailJob' if name == 'report' else fault
      assert ends(job, stopped) == 'Ignore'
      assert ends(job, 137, disrupted=True) == 'Ignore'
      assert ends(job, processes.STUCK) == 'Count' and ends(job, 134) == 'Count'
      assert ends(job, UserError.exit_code) == ends(job, RunsFailed.exit_code) == fails
      pod = job['template']['spec']
      assert pod['restartPolicy'] == 'Never'  # else no rule holds
      assert pod['terminationGracePeriodSeconds'] >= 60
  # What counts starts all of a run again from its last checkpoint, and of a sweep that run alone.
  assert jobs(run)['hosts']['backoffLimit'] == 0
  (rule,) = run['spec']['failurePolicy']['rules']
  assert (rule['action'], rule['onJobFailureReasons']) == ('FailJobSet', ['PodFailurePolicy'])
  assert sweep['spec']['failurePolicy']['maxRestarts'] == 0
  assert jobs(sweep)['level-0']['backoffLimitPerIndex'] > 0


def test_a_sweep_has_a_job_for_each_level_that_waits_for_the_one_before(calls):
  arguments = ['--config=tests/tiny.py', '--workdir=runs/a b']
  jobset = created(calls, 'sweep', *arguments, GPUS='1', MAX_RUNNING='2')
  check(jobset)
  parts = jobset['spec']['replicatedJobs']
  assert [p['name'] for p in parts] == ['level-0', 'level-1', 'level-2', 'report']
  waits = [p['dependsOn'] for p in parts]
  assert waits[0] == [] and waits[1:] == [
    [{'name': p['name'], 'status': 'Complete'}] for p in parts[:-1]
  ]
  assert [jobs(jobset)[f'level-{i}']['completions'] for i in range(3)] == [1, 3, 1]
  assert jobs(jobset)['level-1']['parallelism'] == 2
  runs = [
    program(jobs(jobset)[f'level-{level}'], index, calls)
    for level, count in enumerate([1, 3, 1])
    for index in range(count)
  ]
  assert runs == [[*arguments, '--action=run', f'--run={number}'] for number in range(5)]
  assert program(jobs(jobset)['report'], 0, calls) == arguments


def test_levels_with_gaps_keep_their_numbers(calls, expands):
  jobset = created(calls, 'sweep', '--config=a.py', PYTHON=expands)
  level = jobs(jobset)['level-1']
  assert level['completions'] == 3
  last = [program(level, index, calls)[-1] for index in range(3)]
  assert last == ['--run=1', '--run=2', '--run=5']


@pytest.mark.parametrize(
  'action',
  [
    ['build'],
    ['create', *HARD],
    ['sweep', '--config=a.py'],
    ['status'],
    ['status', *HARD],
    ['logs'],
    ['fetch'],
    ['delete'],
  ],
)
def test_a_dry_run_runs_nothing_and_prints_what_would_run(calls, action, tmp_path, expands):
  checkout(tmp_path)
  script = tmp_path / 'launch/k8s/run.sh'
  dry = call('--dry_run', *action, script=script, PYTHON=expands)
  assert dry.returncode == 0 and calls() == []
  subprocess.run(['bash', '-c', dry.stdout], cwd=tmp_path, check=True)
  printed = calls()
  call(*action, script=script, PYTHON=expands)
  ran = calls()[len(printed) :]
  if action[0] in ('create', 'sweep'):
    assert ran.pop(0)[1:3] == ['get', 'jobset']  # is one over? A dry run does not ask
  assert printed == ran and printed


def test_an_image_of_a_part_of_the_code_is_not_pushed(calls, tmp_path):
  checkout(tmp_path)
  (tmp_path / 'launch/k8s/volume.yaml').unlink()
  script = tmp_path / 'launch/k8s/run.sh'
  assert call('build', script=script).returncode == 0
  assert [c[1] for c in calls()] == ['build', 'push']
  shutil.rmtree(tmp_path / '.git')
  assert call('build', script=script).returncode != 0
  assert [c[1] for c in calls()][2:] == ['build']  # which saw an archive that breaks off


def test_a_set_that_is_over_makes_room_and_one_that_runs_does_not(calls):
  assert call('create', '--config=a.py', OVER='Failed').returncode == 0
  assert [c[1] for c in calls()] == ['get', 'delete', 'create']
  assert call('create', '--config=a.py').returncode == 0
  assert [c[1] for c in calls()][3:] == ['get', 'create']  # which kubectl refuses


@pytest.mark.parametrize('code', [0, 2])
def test_the_status_of_a_study_is_asked_beside_its_volume(calls, code):
  ended = call('status', *HARD, NAME='n', CODE=str(code))
  assert ended.returncode == code, ended.stderr
  words = [c[1] for c in calls()]
  assert words == ['delete', 'create', 'wait', 'exec', '-m', 'delete']
  assert calls()[4][:-1] == ['python', '-m', 'whyjax.main', *HARD, '--action=status']
  reader = yaml.safe_load(calls()[1][-1])
  kubernetes_validate.validate(reader, VERSION, strict=True)
  assert all({'n-status', 'pod/n-status'} & set(c) for c in calls() if c[1] not in ('create', '-m'))
  (mount,) = reader['spec']['containers'][0]['volumeMounts']
  assert mount['mountPath'] == '/whyjax/runs' and reader['metadata']['name'] == 'n-status'


def test_the_reader_and_the_volume_are_valid(calls, tmp_path):
  shutil.copytree(ROOT / 'launch', tmp_path / 'launch')  # it makes runs/ beside itself
  reader = created(calls, 'fetch', script=tmp_path / 'launch/k8s/run.sh')
  volume = yaml.safe_load((K8S.parent / 'volume.yaml').read_text())
  for found in (reader, volume):
    kubernetes_validate.validate(found, VERSION, strict=True)
  job = jobs(created(calls, 'create', '--config=a.py'))['hosts']
  claims = [
    v['persistentVolumeClaim']
    for v in job['template']['spec']['volumes']
    if 'persistentVolumeClaim' in v
  ]
  assert claims == [{'claimName': volume['metadata']['name']}]
  assert volume['spec']['accessModes'] == ['ReadWriteMany']
  mounts = {m['mountPath'] for m in container(job)['volumeMounts']}
  (home,) = re.findall(r'^WORKDIR (.*)$', (K8S.parent / 'Dockerfile').read_text(), re.M)
  assert {f'{home}/runs', '/dev/shm'} <= mounts


@pytest.mark.parametrize(
  'action, env, line',
  [
    ([], {}, 'give one of'),
    (['run'], {}, 'give one of'),
    (['logs', 'now'], {}, 'logs: takes no arguments'),
    (['status', '--workdir=/tmp'], {}, '--workdir=/tmp: must be below runs/'),
    (['status', '--config=a.py'], {'IMAGE': ''}, 'IMAGE: must be'),
    (['create'], {}, 'give the arguments of the program'),
    (['create', '--config=a.py'], {'IMAGE': ''}, 'IMAGE=: must be'),
    (['create', '--config=a.py'], {'NAME': 'Why'}, 'NAME=Why: must be'),
    (['create', '--config=a.py'], {'TPU': 'v5e-16'}, 'TPU=v5e-16: must be'),
    (['create', '--config=a.py'], {'TPU': 'v4:4x4'}, 'TPU=v4:4x4: must be'),
    *[
      (['create', '--config=a.py'], {'TPU': tpu}, f'TPU={tpu}: must be')
      for tpu in (
        'v5e:3x5',
        'v6e:4x2',
        'v5e:2x2x2',
        'v4:2x2x3',
        'v5p:8x4x4',
        'v4:4x4x6',
        'v5e',
        'v3:2x2',
      )
    ],
    (
      ['create', '--config=a.py'],
      {'TPU': 'v5e:4x4', 'GPUS': '8'},
      'GPUS=8: must be 0 with TPU=v5e:4x4',
    ),
    (['build'], {'TPU': 'v5e:4x4', 'GPUS': '8'}, 'GPUS=8: must be 0 with TPU=v5e:4x4'),
    (['build'], {'GPUS': 'all'}, 'GPUS=all: must be'),
    (['create', '--config=a.py'], {'GPUS': 'all'}, 'GPUS=all: must be'),
    (['create', '--config=a.py'], {'HOSTS': '0'}, 'HOSTS=0: must be'),
    (['build'], {'TPU': 'v5e:4x4', 'HOSTS': '2'}, 'HOSTS=2: must be 4 with TPU=v5e:4x4'),
    (['create', '--config=a.py'], {'NODES': 'spot'}, 'NODES=spot: must be'),
    (['create', '--config=a.py'], {'MAX_RESTARTS': '-1'}, 'MAX_RESTARTS=-1: must be'),
    (['create', '--config=a.py', '--workdir=/tmp'], {}, '--workdir=/tmp: must be below runs/'),
    (['sweep', '--config=a.py'], {'TPU': 'v5e:4x4'}, 'TPU=v5e:4x4, HOSTS=4: must be 1'),
    (['sweep', '--config=a.py'], {'MAX_RUNNING': '0'}, 'MAX_RUNNING=0: must be'),
    (['sweep', '--config=tests/none.py'], {}, 'no such file'),
  ],
)
def test_bad_input_is_one_line_and_creates_nothing(calls, action, env, line):
  ended = call(*action, **env)
  assert ended.returncode == 2 and calls() == []
  assert line in ended.stderr and ended.stderr.count('\n') == 1
