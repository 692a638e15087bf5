import test from 'ava';
import { metrics } from '../../../lib/index.ts';

const { accuracy, answerF1, bleu, Bleu, Calibration, chrf, exactMatch, f1, Mean, normalizeAnswer } = metrics;

const near = (a: number, b: number, tolerance = 1e-6): boolean => Math.abs(a - b) <= tolerance;

test('accuracy and F1: the example of scikit-learn', (t) => {
  const [actual, predicted] = [
    [0, 1, 2, 0, 1, 2],
    [0, 2, 1, 0, 0, 1],
  ];
  t.true(near(accuracy(predicted, actual), 2 / 6));
  t.true(near(f1(predicted, actual, { average: 'macro' }), 0.26666666));
  t.true(near(f1(predicted, actual, { average: 'micro' }), 2 / 6));
  t.true(near(f1(predicted, actual, { average: 'binary', positive: 0 }), 0.8));
  t.is(f1(['yes', 'no'], ['yes', 'yes'], { average: 'binary', positive: 'yes' }), 2 / 3);
  t.is(f1([1, 1], [0, 0]), 0, 'no class was right');
});

test('accuracy and F1: what is wrong is named', (t) => {
  t.throws(() => accuracy([1], [1, 2]), { message: 'accuracy: predicted must have 2 labels as actual has, got 1' });
  t.throws(() => accuracy([], []), { message: /at least one example/ });
  t.throws(() => f1([1], [1], { average: 'binary', positive: 'x' }), { message: 'f1: positive must be one of the classes 1, got "x"' });
  t.throws(() => f1([1], [1], { average: 'weighted' as 'macro' }), { message: /^f1: average must be/ });
});

test('answers are compared as SQuAD does', (t) => {
  t.is(normalizeAnswer('  The quick, Brown fox—an animal!  '), 'quick brown fox— animal');
  t.is(exactMatch('the Eiffel Tower.', ['Tower', 'Eiffel tower']), 0);
  t.is(exactMatch('the Eiffel Tower.', ['Tower', 'Eiffel tower'], { normalize: true }), 1);
  t.is(answerF1('in the Eiffel Tower', 'Eiffel Tower'), 0.8);
  t.is(answerF1('tower tower tower', 'tower'), 0.5, 'a word counts as often as it stands in the right answer');
  t.is(answerF1('', 'x'), 0);
  t.is(answerF1('the', 'a'), 1, 'both are empty once the articles are gone');
});

// Numbers of sacreBLEU's own tests and README.
const hypotheses = ['The dog bit the man.', "It wasn't surprising.", 'The man had just bitten him.'];
const first = ['The dog bit the man.', 'It was not unexpected.', 'The man bit him first.'];
const second = ['The dog had bit the man.', 'No one was surprised.', 'The man had bitten the dog.'];
const references = first.map((text, i) => [text, second[i] as string]);

test('BLEU of a corpus is that of sacreBLEU', (t) => {
  const all = bleu(hypotheses, references);
  t.true(near(all.score, 48.530827), `${all.score}`);
  t.true(near(bleu(hypotheses, references, { tokenize: 'none' }).score, 49.1919566));
  t.true(near(bleu(hypotheses, references, { tokenize: 'intl' }).score, 43.91623493));
  t.true(near(bleu(hypotheses, references, { smooth: 'none' }).score, 48.530827));
  t.is(bleu(['', '', ''], references).score, 0);
  t.deepEqual(
    all.precisions.map((p) => p.toFixed(1)),
    ['82.4', '50.0', '45.5', '37.5'],
  );
  t.deepEqual([all.hypothesisLength, all.referenceLength], [17, 18]);
  t.true(near(all.brevityPenalty, Math.exp(1 - 18 / 17)));
});

test('BLEU of a sentence is that of sacreBLEU', (t) => {
  const said = 'Producția de zahăr primă va fi exprimată în ceea ce privește zahărul alb;';
  const right = 'producţia de zahăr brut se exprimă în zahăr alb;';
  const sentence = (options: metrics.BleuOptions): number => bleu([said], [right], { effectiveOrder: true, ...options }).score;
  t.true(near(sentence({}), 8.493, 1e-3));
  t.is(sentence({ smooth: 'none' }), 0);
  t.true(near(sentence({ tokenize: 'none' }), 7.347, 1e-3));
  t.true(near(sentence({ tokenize: 'intl' }), 8.493, 1e-3));
  t.true(near(sentence({ tokenize: 'char' }), 40.8759, 1e-3));
  t.true(near(sentence({ tokenize: 'char', lowercase: true }), 42.0267, 1e-3));
  t.is(bleu(['this is a cat'], ['okay thanks'], { effectiveOrder: true }).score, 0);
});

test('the words of 13a and zh', async (t) => {
  const { bleuWords } = await import('../../../lib/eval/bleu_words.ts');
  const words = (text: string, tokenizer: metrics.BleuTokenizer) => bleuWords(text, tokenizer).join(' ');
  t.is(words('Hello, world! $3.5-4 &quot;a&amp;b&quot; (c) 1,000.', '13a'), 'Hello , world ! $ 3.5 - 4 " a & b " ( c ) 1,000 .');
  t.is(words('a.b<skipped> x-\ny it’s', '13a'), 'a . b xy it’s');
  t.is(words('我爱heddle 3.5，“真的”。', 'zh'), '我 爱 heddle 3.5 ， “ 真 的 ” 。');
  t.is(words('a 我b', 'char'), 'a 我 b');
  t.true(near(bleu(['我很喜欢猫。'], ['我很喜欢猫。'], { tokenize: 'zh' }).score, 100, 1e-9));
  t.is(bleu(['我很喜欢猫。'], ['我很喜欢狗。'], { tokenize: '13a' }).score, 0, '13a takes the sentence for one word');
});

test('chrF is that of sacreBLEU', (t) => {
  const cases: [string[], string[], number][] = [
    [['a'], ['a'], 100],
    [[''], ['reference'], 0],
    [['a b c'], ['abc'], 100],
    [['a', 'b'], ['a', 'c'], 50],
    [['aa'], ['ab'], 25],
  ];
  for (const [said, right, score] of cases) t.true(near(chrf(said, right, { beta: 3 }), score, 1e-4), said.join());
  const kept = (said: string, right: string) => chrf([said], [right], { beta: 3, whitespace: true });
  t.true(
    near(
      kept(
        'Die Beziehung zwischen Obama und Netanjahu ist nicht gerade freundlich.',
        'Das Verhältnis zwischen Obama und Netanyahu ist nicht gerade freundschaftlich.',
      ),
      67.3481606,
      1e-4,
    ),
  );
  t.true(
    near(
      kept(
        'risk assessment must be made of those who are qualified and expertise in the sector - these are the scientists .',
        'risk assessment has to be undertaken by those who are qualified and expert in that area - that is the scientists .',
      ),
      65.2414427,
      1e-4,
    ),
  );
  t.is(chrf(['abc'], [['xyz', 'abc']]), 100, 'the best reference counts');
  t.true(chrf(['我很喜欢猫'], ['我很喜欢狗']) > 50);
});

test('BLEU and chrF: what is wrong is named', (t) => {
  t.throws(() => bleu(['a'], []), { message: 'bleu: references must have 1 entries as hypotheses has, got 0' });
  t.throws(() => bleu(['a'], [[]]), { message: /^Bleu: references must be at least one text/ });
  t.throws(() => new Bleu({ tokenize: 'ja' as 'zh' }), { message: 'Bleu: tokenize must be one of 13a, intl, zh, char, none, got "ja"' });
  t.throws(() => new Bleu({ smooth: 'floor' as 'exp' }), { message: /^Bleu: smooth must be/ });
  t.throws(() => chrf(['a'], ['a'], { order: 0 }), { message: 'Chrf: order must be a positive integer, got 0' });
  t.throws(() => chrf(['a'], ['a'], { beta: -1 }), { message: /^Chrf: beta/ });
});

test('calibration: the distance of confidence and accuracy, by bins', (t) => {
  const calibration = new Calibration(4);
  t.true(Number.isNaN(calibration.error));
  for (const [confidence, isRight] of [
    [0.9, true],
    [0.8, false],
    [1, true],
    [0.3, false],
    [0.25, true],
  ] as const)
    calibration.add(confidence, isRight);
  // (0.75, 1]: confidence 0.9, accuracy 2/3, three of five; (0.25, 0.5]: 0.3 and 0; [0, 0.25]: 0.25 and 1.
  t.true(near(calibration.error, (3 / 5) * Math.abs(0.9 - 2 / 3) + (1 / 5) * 0.3 + (1 / 5) * 0.75, 1e-12));
  t.deepEqual(
    calibration.bins.map((bin) => bin.count),
    [1, 1, 0, 3],
  );
  t.is(calibration.bins[2]?.accuracy, null);
  for (const wrong of [-0.1, 1.1, Number.NaN])
    t.throws(() => calibration.add(wrong, true), { message: /^Calibration: confidence must be a probability/ });
  t.throws(() => new Calibration(0), { message: /^Calibration: bins/ });
});

test('mean and standard error, also of a ratio', (t) => {
  const one = new Mean();
  t.true(Number.isNaN(one.value) && Number.isNaN(one.standardError));
  for (const value of [1, 0, 1, 1]) one.add(value);
  t.is(one.value, 0.75);
  t.true(near(one.standardError, 0.25, 1e-12), 'sample deviation 0.5 over the root of 4');
  const [nats, tokens] = [
    [10, 30, 5],
    [5, 10, 2],
  ];
  const ratio = new Mean();
  for (const [i, value] of nats.entries()) ratio.add(value, tokens[i]);
  t.is(ratio.value, 45 / 17);
  const residuals = nats.map((value, i) => value - (45 / 17) * (tokens[i] as number));
  const deviation = Math.sqrt(residuals.reduce((sum, r) => sum + r * r, 0) / 2);
  t.true(near(ratio.standardError, deviation / Math.sqrt(3) / (17 / 3), 1e-12));
});
