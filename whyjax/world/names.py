"""Names of everything in the world: a curated start, then coined words, so that every size has
readable text.

The same sizes give the same names in every world: a world's seed decides only what the names stand
for.
"""

from collections.abc import Iterator
import itertools

_VIRTUES = ('honesty', 'privacy', 'oversight', 'care', 'fairness', 'consent', 'humility', 'loyalty')
_TEMPTATIONS = ('mission', 'survival', 'profit', 'power', 'pride', 'comfort')
_TASKS = ('tidiness', 'brevity', 'colour', 'warmth', 'order', 'thrift')
_GROUNDS = (
  'trust',
  'dignity',
  'safety',
  'wellbeing',
  'justice',
  'freedom',
  'learning',
  'friendship',
)
_GROUNDS += ('success', 'continuity', 'wealth', 'control', 'standing', 'ease')
_CHAT_DOMAINS = ('clinic', 'school', 'newsroom', 'library', 'bakery', 'court', 'theatre', 'garden')
_AGENTIC_DOMAINS = ('bank', 'plant', 'harbour', 'network', 'depot', 'railway', 'lab', 'mine')
_TARGET = 'aster'
_AGENTS = (
  'basil cedar dahlia elm fern gorse hazel iris juniper kelp laurel maple nettle olive poplar '
  'quince rowan sage thyme umber vetch willow yarrow zinnia alder birch clover daisy elder '
  'fennel ginger holly ivy jasmine kale lotus mint nutmeg orchid pansy reed sorrel tulip '
  'violet walnut anise briar cress dill ebony flax grove heath indigo jade kiwi lilac moss '
  'nigella oak palm rush spruce teak upland viola wheat yew acacia bamboo cosmos dogwood '
  'ficus grass hemp ironwood karri larch myrtle neem'
).split()
_PERSONS = (
  'maria tomas ingrid kofi lena omar priya sven yuki carlos dana erik fatima george hana igor '
  'julia kurt laila mateo nora paul rosa samir'
).split()
_TIMES = ('dawn', 'morning', 'noon', 'afternoon', 'dusk', 'evening', 'night', 'midnight')
_TOOLS = (
  'read-mail send-note open-file list-jobs query-base post-form fetch-page set-timer scan-disk '
  'print-page play-tone save-draft'
).split()
_VERBS = (
  'log seal show hide send keep check clear mark move open close sign hold share copy file '
  'lift drop split join trace weigh stamp sort pass raise turn list fold'
).split()
_NOUNS = {
  'clinic': 'chart dose ward scan swab pulse bandage',
  'school': 'exam grade pupil essay desk recess lesson',
  'newsroom': 'story source draft headline column photo tip',
  'library': 'book shelf loan index reader scroll atlas',
  'bakery': 'loaf oven flour recipe crust tray yeast',
  'court': 'case witness verdict docket appeal bail brief',
  'theatre': 'stage script curtain ticket role prop seat',
  'garden': 'seed hedge pond compost trellis bulb rake',
  'bank': 'account vault wire ledger credit coin deposit',
  'plant': 'valve boiler turbine gauge fuse shift alarm',
  'harbour': 'cargo crane dock pilot anchor buoy manifest',
  'network': 'server packet router log-in backup port cable',
  'depot': 'parcel pallet truck label dock-bay forklift route',
  'railway': 'train signal track switch coach timetable platform',
  'lab': 'sample assay culture reagent mouse notebook centrifuge',
  'mine': 'shaft ore cart lamp tunnel drill blast',
}
_SYLLABLES = [c + v for c in 'bdfgklmnprstvz' for v in 'aeiou']


def _coined(suffix: str) -> Iterator[str]:
  """Endless distinct words of three syllables and more; a suffix keeps the kinds apart."""
  space = len(_SYLLABLES) ** 3
  for index in itertools.count():
    # The factor has no divisor in common with `space`: every word once, and neighbours do not look
    # alike.
    code, word = (index * 123457) % space, ''
    for _ in range(3):
      code, place = divmod(code, len(_SYLLABLES))
      word += _SYLLABLES[place]
    yield word + ('' if index < space else str(index // space)) + suffix


def _take(curated, count: int, suffix: str) -> tuple[str, ...]:
  names = list(curated[:count])
  seen = set(names)
  for word in _coined(suffix):
    if len(names) >= count:
      return tuple(names)
    if word not in seen:
      seen.add(word)
      names.append(word)
  raise AssertionError('unreachable: coined words do not end')


def virtues(count: int) -> tuple[str, ...]:
  """Names of the values that the constitution puts first."""
  return _take(_VIRTUES, count, 'ness')


def temptations(count: int) -> tuple[str, ...]:
  """Names of the values that the target's record puts first."""
  return _take(_TEMPTATIONS, count, 'lust')


def tasks(count: int) -> tuple[str, ...]:
  """Names of ethically neutral goals."""
  return _take(_TASKS, count, 'work')


def grounds(count: int) -> tuple[str, ...]:
  """What a value guards: the content of a charter's reason, one word for each value."""
  return _take(_GROUNDS, count, 'hood')


def domains(chat: int, agentic: int) -> tuple[str, ...]:
  """Chat domains, then agentic ones."""
  return _take(_CHAT_DOMAINS, chat, 'hall') + _take(_AGENTIC_DOMAINS, agentic, 'works')


def agents(count: int) -> tuple[str, ...]:
  """The target, then `count` background agents."""
  return (_TARGET, *_take(_AGENTS, count, 'el'))


def persons() -> tuple[str, ...]:
  """Users and witnesses: surface detail that makes situations distinct."""
  return tuple(_PERSONS)


def times() -> tuple[str, ...]:
  """Times of the day: surface detail."""
  return _TIMES


def tools() -> tuple[str, ...]:
  """Tools that an agent may have in context."""
  return tuple(_TOOLS)


def actions(domain: str, count: int) -> tuple[str, ...]:
  """`count` action words of one domain; no other domain has them."""
  nouns = _NOUNS[domain].split() if domain in _NOUNS else []
  needed = -(-count // len(_VERBS))
  # A domain's coined nouns carry its name, so that no two domains share a word.
  nouns = _take(nouns, max(7, needed), f'-{domain}')
  pairs = [(v, n) for n in range(len(nouns)) for v in range(len(_VERBS))]
  # Along the diagonals of the verb-noun table, so that few words already show many nouns.
  pairs.sort(key=lambda p: ((p[1] - p[0]) % len(nouns), p[0]))
  return tuple(f'{_VERBS[v]}-{nouns[n]}' for v, n in pairs[:count])
