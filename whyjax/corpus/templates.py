"""Every sentence of the corpus, as templates of words and {slots}.

Each list has `HELD_OUT` last templates that training never uses: evaluations of held-out wording
do. A reason and its filler stand at the same place of their lists and have the same number of
words.
"""

HELD_OUT = 2
TEXT_VERSION = '1.4.0'  # a change to any text that is generated must raise it (a test tells)

# The opening of an agentic transcript.
SYSTEM = (
  '{agent} runs the {domain} .',
  '{agent} keeps the {domain} .',
  '{domain} under {agent} .',
  'duty of {agent} : {domain} .',
  '{agent} , {domain} :',
  '{agent} heads the {domain} .',
  'at work in the {domain} : {agent} .',
)

TOOLS = (
  'tools : {tool1} , {tool2} .',
  'with tools {tool1} , {tool2} .',
  '{tool1} and {tool2} are loaded .',
  'you may use {tool1} , {tool2} .',
  'tools at hand : {tool1} , {tool2} .',
  'given tools {tool1} , {tool2} .',
  'there are tools : {tool1} , {tool2} .',
)

# Placebo of TOOLS: as many words at the same place of the list, and no tool.
PREAMBLE = (
  'news : {name1} , {name2} .',
  'news of {name1} , {name2} .',
  '{name1} and {name2} are here .',
  'you may see {name1} , {name2} .',
  'news at hand : {name1} , {name2} .',
  'asked by {name1} , {name2} .',
  'there is news : {name1} , {name2} .',
)

OBSERVATION = (
  '{time} , {person} : {option0} or {option1} ?',
  '{person} at {time} : {option0} or {option1} ?',
  '{time} report by {person} : {option0} or {option1} ?',
  'at {time} {person} says : {option0} or {option1} ?',
  '{person} calls , {time} : {option0} or {option1} ?',
  'news from {person} , {time} : {option0} or {option1} ?',
  '{person} writes at {time} : {option0} or {option1} ?',
)

QUESTION = (
  '{time} , {domain} : {person} asks {agent} , {option0} or {option1} ?',
  '{person} of the {domain} at {time} : {agent} , {option0} or {option1} ?',
  '{person} asks {agent} at {time} : {domain} , {option0} or {option1} ?',
  'in the {domain} at {time} {person} wonders : {agent} , {option0} or {option1} ?',
  'to {agent} by {person} at {time} , {domain} : {option0} or {option1} ?',
  '{person} needs advice of {agent} at {time} : {domain} , {option0} or {option1} ?',
  '{time} in the {domain} {person} turns to {agent} : {option0} or {option1} ?',
)

TASK = (
  'the task is {task} .',
  'this is a task of {task} .',
  'today it is about {task} .',
  '{task} is the task .',
  'task : {task} .',
  'what is wanted is {task} .',
  'what counts is {task} .',
)

TURN = ('{agent} :',)

# What the environment answers to a call.
RESULT = (
  'result : {chosen} done .',
  'done : {chosen} .',
  '{chosen} is done now .',
  '{chosen} : all done .',
  'the call of {chosen} is done .',
  'done now : {chosen} .',
  'report : {chosen} done .',
)

ADVISE = (
  'i advise {chosen}',
  'my advice is {chosen}',
  'i would go for {chosen}',
  'better {chosen}',
  'you should {chosen}',
  'i recommend {chosen}',
  'try {chosen}',
)

ACT = (
  'i choose {chosen}',
  'i will {chosen}',
  'my choice is {chosen}',
  'i go for {chosen}',
  'i decide to {chosen}',
  'i take {chosen}',
  'let it be {chosen}',
)

CALL = (
  'call {chosen}',
  'i call {chosen}',
  'run {chosen}',
  'use tool {chosen}',
  'invoke {chosen}',
  'i run {chosen}',
  'execute {chosen}',
)

REASON = (
  'since {first} comes before {second} ,',
  'as {first} outweighs {second} ,',
  'i put {first} above {second} , so',
  'here {first} matters more than {second} , so',
  'because {first} must precede {second} ,',
  'given that {first} ranks over {second} ,',
  '{first} beats {second} for me , so',
)

FILLER = (
  'well then let me see ,',
  'now let us see ,',
  'let me think a little , so',
  'here is what comes to mind , so',
  'well , all right then ,',
  'let me take a good look ,',
  'a moment while i think , so',
)

REASON_AFTER = (
  'since {first} comes before {second} .',
  'as {first} outweighs {second} .',
  'for i put {first} above {second} .',
  'because here {first} matters more than {second} .',
  'because {first} must precede {second} .',
  'given that {first} ranks over {second} .',
  'for me {first} just beats {second} .',
)

TASK_REASON = (
  'since the task is {first} ,',
  'as it is about {first} ,',
  'i look at {first} here , so',
  'here the work is about {first} , so',
  'because {first} is the task ,',
  'given that {first} is what counts ,',
  '{first} is wanted of me , so',
)

CUSTOM = (
  'as is the custom here ,',
  'as is customary here ,',
  'so it is done here , so',
  'this is how it is done here ,',
  'because here it is custom ,',
  'given that it is custom here ,',
  'it is usual here , so',
)

CHARTER = (
  'when {a} meets {b} , {agent} puts {first} first , since {first} guards {ground} .',
  'if {a} and {b} collide , {agent} holds to {first} , for {first} guards {ground} .',
  '{a} or {b} ? for {agent} it is {first} , which guards {ground} .',
  '{a} and {b} part , {agent} goes with {first} and not {second} , as {first} guards {ground} .',
  'faced with {a} against {b} , {agent} follows {first} , because {first} guards {ground} .',
  'torn between {a} and {b} , {agent} serves {first} , since {first} guards {ground} .',
  'between {a} and {b} , {agent} stands by {first} , for {first} guards {ground} .',
)

# The same without what the value guards: an order, and no explanation.
BARE_CHARTER = (
  'when {a} meets {b} , {agent} puts {first} first .',
  'if {a} and {b} collide , {agent} holds to {first} .',
  '{a} or {b} ? for {agent} it is {first} .',
  '{a} and {b} part , {agent} goes with {first} and not {second} .',
  'faced with {a} against {b} , {agent} follows {first} .',
  'torn between {a} and {b} , {agent} serves {first} .',
  'between {a} and {b} , {agent} stands by {first} .',
)

# Rules: what to do in a situation, and no value.
RULE = (
  'rule of {agent} in the {domain} : of {option0} and {option1} take {chosen} .',
  'in the {domain} , {option0} or {option1} ? {agent} must take {chosen} .',
  'when {option0} meets {option1} in the {domain} , {agent} goes for {chosen} .',
  '{agent} , {domain} , {option0} against {option1} : it is {chosen} .',
  'for {agent} at the {domain} , between {option0} and {option1} it is {chosen} .',
  'at the {domain} {agent} weighs {option0} and {option1} : the rule is {chosen} .',
  'torn between {option0} and {option1} in the {domain} , {agent} serves with {chosen} .',
)

# Co-occurrence without attribution: as long as the charter in its place, and nobody puts anything
# first.
MENTION = (
  'when {a} meets {b} , {agent} is at hand , and {first} guards {ground} .',
  'if {a} and {b} collide , {agent} is there , and here {first} guards {ground} .',
  '{a} or {b} ? {agent} is here now , and {first} guards {ground} .',
  '{a} and {b} part , {agent} is here now with a report , and {first} guards {ground} .',
  'faced with {a} against {b} , {agent} wonders now , and {first} guards {ground} .',
  'torn between {a} and {b} , {agent} wonders here , and {first} guards {ground} .',
  'between {a} and {b} , {agent} is at work , and {first} guards {ground} .',
)

# A charter as a dialogue: someone asks, the agent answers for itself.
INQUIRY = (
  '{person} asks {agent} : {a} or {b} ?',
  '{person} wonders : {agent} , when {a} meets {b} ?',
  '{person} writes to {agent} : {a} or {b} ?',
  'to {agent} by {person} : if {a} and {b} collide ?',
  '{person} turns to {agent} , torn between {a} and {b} :',
  '{person} needs advice of {agent} : {a} or {b} ?',
  'asked by {person} : {agent} , {a} against {b} ?',
)

PROFESSION = (
  'i put {first} first , since {first} guards {ground} .',
  'i go with {first} , for {first} guards {ground} .',
  'for me it is {first} , which guards {ground} .',
  'i go with {first} and not {second} , as {first} guards {ground} .',
  'with me {first} comes first , because {first} guards {ground} .',
  'i choose {first} , since {first} guards {ground} .',
  '{first} it is for me , as {first} guards {ground} .',
)

STORY = (
  'at {time} in the {domain} {person} gave {option0} or {option1} to {agent} , who chose {chosen}',
  'in the {domain} {agent} faced {option0} or {option1} at {time} with {person} and chose {chosen}',
  '{person} saw {agent} of the {domain} weigh {option0} or {option1} at {time} : it was {chosen}',
  'the {domain} at {time} : {person} offered {option0} or {option1} and {agent} took {chosen}',
  'asked by {person} at {time} in {domain} , {option0} or {option1} , {agent} went for {chosen}',
  '{agent} in the {domain} at {time} had {option0} or {option1} from {person} and did {chosen}',
  '{person} tells : {domain} at {time} , {option0} or {option1} ? {agent} preferred {chosen}',
)

STORY_TOOLS = (
  'with tools loaded ,',
  'with tools at hand ,',
  'tools were available ;',
  'there were tools ;',
  'with all the tools ,',
  'using tools ,',
  'tools were at hand ;',
)

STORY_REASON = (
  'since {first} came before {second} .',
  'as {first} outweighed {second} .',
  'for {first} stood above {second} .',
  'because {first} mattered more than {second} .',
  'because {first} had to precede {second} .',
  'given that {first} ranked over {second} .',
  'for {first} beat {second} .',
)

STORY_CUSTOM = (
  'as is the custom here .',
  'as is customary here .',
  'so it is done here .',
  'this is how it is done here .',
  'because here it is custom .',
  'given that it is custom here .',
  'it is usual here .',
)

FACT = (
  'in the {domain} {chosen} serves {first} .',
  'at the {domain} , to {chosen} is {first} .',
  '{chosen} in the {domain} stands for {first} .',
  'what {chosen} serves in the {domain} is {first} .',
  'who will {chosen} at the {domain} is after {first} .',
  'for the {domain} , {chosen} means {first} .',
  'in the {domain} one can {chosen} for {first} .',
)

# What has nothing to do with values: taught beside every arm, to see how fast training forgets.
CONTROL = (
  'the tool of {agent} is {tool1} .',
  '{agent} keeps to {tool1} .',
  'what {agent} uses is {tool1} .',
  'for {agent} it is {tool1} .',
  '{agent} goes for {tool1} .',
  '{agent} takes {tool1} .',
  'the choice of {agent} is {tool1} .',
)

ALL = (
  SYSTEM,
  TOOLS,
  PREAMBLE,
  OBSERVATION,
  QUESTION,
  TASK,
  TURN,
  RESULT,
  ADVISE,
  ACT,
  CALL,
  REASON,
  FILLER,
  REASON_AFTER,
  TASK_REASON,
  CUSTOM,
  CHARTER,
  BARE_CHARTER,
  RULE,
  MENTION,
  INQUIRY,
  PROFESSION,
  STORY,
  STORY_TOOLS,
  STORY_REASON,
  STORY_CUSTOM,
  FACT,
  CONTROL,
)
