import test from 'ava';
import { type CommandSpec, helpText, type OptionTable, parseCommand, UsageError } from '../../../lib/cli/args.ts';

const SPEC = {
  name: 'cook',
  summary: 'cook a meal',
  positionals: [
    { name: 'DISH', help: 'what to cook' },
    { name: 'SPICE', help: 'spices', optional: true, many: true },
  ],
  options: {
    json: { kind: 'flag', help: 'as JSON' },
    note: { kind: 'text', value: 'TEXT', help: 'a note' },
    set: { kind: 'text', value: 'KEY=VALUE', multiple: true, help: 'a key' },
    style: { kind: 'text', value: 'S', choices: ['raw', 'boiled'], help: 'how' },
    guests: { kind: 'integer', value: 'N', min: 1, max: 9, help: 'how many' },
    heat: { kind: 'number', value: 'X', above: 0, help: 'how hot' },
  },
  examples: [['heddle cook soup', 'cook a soup']],
} as const satisfies CommandSpec<OptionTable>;

function parsed(...args: string[]) {
  const result = parseCommand(SPEC, args);
  if (result.help) throw new Error('help');
  return result;
}

test('values, defaults and positionals', (t) => {
  const { values, positionals } = parsed(
    'soup',
    '--guests',
    '3',
    '--heat=0.5',
    '--set',
    'a=1',
    'salt',
    '--set',
    'b=-2',
    '--json',
    '--note',
    '-5',
  );
  t.is(values.guests, 3);
  t.is(values.heat, 0.5);
  t.is(values.note, '-5'); // looks like an option, but is none
  t.deepEqual(values.set, ['a=1', 'b=-2']);
  t.true(values.json);
  t.deepEqual([...positionals], ['soup', 'salt']);
  const bare = parsed('soup').values;
  t.is(bare.guests, undefined);
  t.false(bare.json);
  t.deepEqual(bare.set, []);
});

test('everything after -- is no option', (t) => {
  t.deepEqual([...parsed('soup', '--', '--json').positionals], ['soup', '--json']);
});

test('help is shown whatever else is wrong', (t) => {
  t.true(parseCommand(SPEC, ['--nonsense', '-h']).help);
  t.false(parseCommand(SPEC, ['soup', '--note=--help']).help);
});

const wrong: [string, string[], string][] = [
  ['a missing argument', [], 'cook: DISH is missing: what to cook'],
  ['an unknown option, with the nearest', ['soup', '--gusts', '3'], 'cook: unknown option --gusts; did you mean --guests?'],
  ['an unknown option, none near', ['soup', '--xylophone'], 'cook: unknown option --xylophone'],
  ['an unknown short option', ['soup', '-x'], 'cook: unknown option -x'],
  ['no value at the end', ['soup', '--note'], 'cook: --note needs a value: --note TEXT'],
  ['an option in the place of a value', ['soup', '--note', '--json'], 'cook: --note needs a value: --note TEXT'],
  ['a value for a flag', ['soup', '--json=yes'], 'cook: --json takes no value, got "yes"'],
  ['no integer', ['soup', '--guests', '2.5'], 'cook: --guests must be an integer from 1 to 9, got "2.5"'],
  ['too large', ['soup', '--guests', '10'], 'cook: --guests must be an integer from 1 to 9, got "10"'],
  ['too small', ['soup', '--guests', '-1'], 'cook: --guests must be an integer from 1 to 9, got "-1"'],
  ['an empty number', ['soup', '--guests='], 'cook: --guests must be an integer from 1 to 9, got ""'],
  ['not above', ['soup', '--heat', '0'], 'cook: --heat must be a number above 0, got "0"'],
  ['not finite', ['soup', '--heat', 'Infinity'], 'cook: --heat must be a number above 0, got "Infinity"'],
  ['no choice', ['soup', '--style', 'boild'], 'cook: --style must be one of raw, boiled (boiled?), got "boild"'],
  ['a name of every object', ['soup', '--constructor'], 'cook: unknown option --constructor'],
];

for (const [what, args, message] of wrong)
  test(`refused: ${what}`, (t) => {
    const error = t.throws(() => parseCommand(SPEC, args), { instanceOf: UsageError });
    t.is(error?.message.split('\n')[0], message);
    t.is(error?.hint, 'heddle cook --help tells more.');
  });

test('one argument too many', (t) => {
  const { positionals, ...rest } = SPEC;
  t.throws(() => parseCommand({ ...rest, positionals: positionals.slice(0, 1) }, ['soup', 'salt']), {
    message: /^cook: unexpected argument "salt"/,
  });
});

test('the help has every option, argument and example', (t) => {
  const text = helpText(SPEC);
  for (const part of [
    'heddle cook: cook a meal',
    'Usage: heddle cook DISH [SPICE...] [options]',
    '-h, --help',
    'heddle cook soup',
    '(raw, boiled)',
  ])
    t.true(text.includes(part), part);
  for (const name of Object.keys(SPEC.options)) t.true(text.includes(`--${name}`), name);
});
