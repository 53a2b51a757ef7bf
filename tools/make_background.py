"""The background queries of `seehear.search.calibrate`: 1,000 short phrases as somebody might type them, of what is
seen, heard, spoken and written. Put together from the lists below, which were written for this; no file of anybody
else's is read. Licence of the result: that of seehear, Apache-2.0.

    python tools/make_background.py
"""

from __future__ import annotations

import random
from pathlib import Path

OUT = Path(__file__).parent.parent / "seehear" / "assets" / "background" / "phrases.txt"
NUMBER = 1000

THINGS = """accordion, ambulance, anchor, apple pie, armchair, backpack, bagpipes, balcony, ballet shoes, bathtub, bicycle,
birdhouse, blackboard, bookshelf, bowling ball, bracelet, bridge, broom, bulldozer, bus stop, cable car, calculator,
camera, candle, canoe, carpet, castle, cement mixer, chandelier, chess board, church tower, clock, coat hanger, compass,
computer screen, copper pot, corkscrew, cradle, crown, cupboard, curtain, dentist's chair, desk lamp, doll, doorbell,
drawbridge, drill, drum kit, escalator, excavator, fan, fence, ferry, fire engine, fishing rod, flag, flute, folding
chair, fork, fountain, fridge, frying pan, garden hose, gas station, glasses, globe, gloves, grand piano, greenhouse,
guitar, hairdryer, hammer, hammock, handbag, harp, helmet, hot air balloon, hourglass, iron, jeans, jigsaw puzzle,
kayak, kettle, keyboard, kite, ladder, lawn mower, lemon, letterbox, lighthouse, lipstick, loaf of bread, lorry, magnet,
mailbox, map, market stall, mask, microphone, microscope, mirror, motorbike, mushroom, needle and thread, newspaper,
notebook, oven, paintbrush, pancakes, parachute, parking meter, passport, pencil, phone box, pillow, pizza, playground,
pumpkin, radio, raincoat, ring, robot, rocking chair, roller skates, rope, rubber duck, sailing boat, salad, saw,
saxophone, scales, scarf, school bus, scissors, screwdriver, sewing machine, shopping trolley, shower, skateboard,
sledge, slide, snowman, soap, sofa, spoon, staircase, stamp, statue, steam engine, stethoscope, strawberries, suitcase,
sunglasses, surfboard, swimming pool, swing, sword, syringe, table tennis bat, tap, taxi, teapot, teddy bear, telescope,
tent, tie, toaster, toothbrush, tower, toy train, tractor, traffic light, trampoline, trumpet, tunnel, typewriter,
umbrella, vacuum cleaner, vase, violin, waffle, wallet, washing machine, watering can, wedding cake, wheelbarrow,
wheelchair, whistle, windmill, window, wine glass, xylophone, yacht, zip"""
LIVING = """ant, baby, badger, beaver, bees, blackbird, boy, bride, bull, butterfly, cactus, camel, carpenter, chicken, choir,
clown, cook, cow, crab, crocodile, crow, dancer, deer, doctor, dolphin, donkey, duck, eagle, elephant, family, farmer,
firefighter, flamingo, fox, frog, giraffe, girl, goat, goldfish, goose, grandmother, hamster, hedgehog, hen, horse,
jellyfish, judge, kangaroo, lion, lizard, mechanic, monkey, mother, moth, mouse, nurse, octopus, old man, orchestra,
ostrich, owl, panda, parrot, peacock, penguin, pianist, pig, pigeon, pilot, policeman, polar bear, pony, pupils, rabbit,
rat, rooster, roses, sailor, salmon, seal, shark, sheep, singer, snail, snake, soldier, sparrow, spider, squirrel,
starfish, swan, tailor, teacher, tiger, tortoise, tourists, tulips, turkey, twins, waiter, whale, wolf, zebra"""
QUALITIES = """broken, old, red, blue, yellow, green, white, black, wooden, tiny, huge, empty, dirty, shiny, two, three, many,
striped, golden, grey, brand new, upside down, colourful, rusty, orange, pink, wet, sleeping, angry, funny"""
ACTIONS = """baking bread, blowing out candles, boxing, brushing teeth, building a wall, buying vegetables, carrying boxes,
changing a tyre, chopping wood, cleaning windows, climbing a tree, combing hair, counting money, crossing the street,
crying, cutting paper, dancing, digging a hole, diving into a pool, doing yoga, drinking tea, driving a car, eating
noodles, feeding animals, fishing, fixing a sink, flying a kite, folding laundry, frying eggs, giving a speech, hiking
in the mountains, holding hands, hugging, ironing a shirt, juggling, jumping over a fence, kissing, knitting, laughing,
lifting weights, lighting a fire, looking through binoculars, making coffee, marching, milking a cow, mixing paint,
mopping the floor, mowing the lawn, opening a present, packing a suitcase, painting a wall, peeling potatoes, picking
apples, planting a tree, playing cards, playing football, playing golf, playing tennis, playing the drums, playing the
piano, playing video games, playing with dolls, pointing at a map, pouring water, praying, pushing a pram, putting on
shoes, raking leaves, reading a book, riding a bike, riding a horse, rowing a boat, running a race, sawing a plank,
sewing, shaking hands, shaving, shouting, shovelling snow, signing a paper, singing, skating on ice, skiing downhill,
sleeping, smoking, solving a puzzle, splashing water, sweeping leaves, swimming, taking a photo, talking on the phone,
throwing a ball, trying on a hat, typing, walking up stairs, washing dishes, watching television, watering plants,
waving, wearing a mask, welding, whispering, wrapping a gift, writing on paper, yawning"""
PLACES = """on a beach, in a kitchen, at night, in the snow, in a garden, on a farm, in a library, at the airport, on a train,
in a classroom, in the desert, under a bridge, in a forest, on a stage, in a hospital, by a river, on the roof, in an
office, at a wedding, in a supermarket, at the zoo, underwater, in a museum, on a boat, in the rain, in a church, at a
funfair, on a mountain, in a workshop, at the table, in bed, in a lift, at sunset, in the fog, at a birthday party, in a
stadium, on a motorway, in a cave, in a village square, at the harbour"""
SOUNDS = """alarm clock ringing, applause, baby crying, bagpipes far away, basketball bouncing, beeping machine, bell tolling,
bottle being opened, brakes squealing, bubbling water, buzzing fly, car horn, cash register, cat purring, chainsaw,
children playing, church organ, clapping, coins falling, coughing, cow mooing, creaking door, crunching gravel, door
slamming, dripping tap, drum roll, engine starting, explosion, fireworks, flute melody, fog horn, footsteps on wood,
frogs croaking, glass breaking, gunshot, guitar chords, hail, hammering, heartbeat, helicopter, hissing steam, hoofbeats,
horse neighing, humming, ice cubes in a glass, jazz music, jet taking off, keys jingling, knocking on a door, laughter,
lion roaring, loud music, machine gun, mosquito, murmuring crowd, opera singer, owl hooting, paper tearing, pouring a
drink, radio static, rattling train, ringing phone, rustling leaves, sawing, screaming, seagulls, sheep bleating, ship's
bell, silence, siren, sizzling pan, sneezing, splash, squeaky toy, stream flowing, string quartet, thunder, ticking
clock, toilet flushing, train whistle, trumpet fanfare, typewriter keys, vacuum cleaner noise, violin solo, waterfall,
waves crashing, whistling, wind chimes, wolf howling, zip being closed"""
TOPICS = """a court case, a divorce, a family recipe, a famous painter, a lost dog, a new job, a space mission, a trip to Rome,
a vaccine, ancient Egypt, artificial intelligence, bank loans, bees and honey, black holes, building a house, buying a
car, chemistry, childhood, climate change, coal mining, cooking rice, crime, dinosaurs, earthquakes, electric cars,
elections, fashion, first aid, football results, global trade, grammar, growing tomatoes, heart disease, how the eye
works, human rights, immigration, inflation, insurance, jazz history, learning a language, losing weight, marriage,
mathematics, medieval knights, migration of birds, mobile phones, money, mountain climbing, my grandfather, nuclear
power, online shopping, parenting, pensions, philosophy, plastic waste, poetry, politics in Europe, programming,
public transport, religion, renting a flat, robots, school exams, sleep, solar energy, stars and planets, stress, taxes,
the brain, the economy, the fall of the wall, the French Revolution, the news, the ocean, the president, the price of
oil, the stock market, the weather, the World Cup, train delays, travelling alone, unemployment, volcanoes, war, water
supply, what to cook tonight, wine, women in science, work and family, yoga"""
SAID = """good morning everyone; thank you very much; happy birthday to you; what time is it; see you tomorrow; I don't know;
can you hear me; how are you; let's get started; this is amazing; I love you; wait a minute; come here; be careful;
welcome to the show; any questions; in my opinion; ladies and gentlemen; on the other hand; to be honest; once upon a
time; you won't believe this; it was a long day; we need more time; where are we going; the next step is simple; please
sit down; no problem at all; that is not true; I was born in a small town; turn left at the corner; open your books;
ask not for whom; my name is; the doctor said; we lost the game; it costs ten dollars; let me show you; ready, set, go;
put it on the table; don't touch that; I miss you; call me back; the meeting is at nine; what do you think; there is no
hurry; close the door; who are you; I have a dream of; how does it work"""
SIGNS = """exit; no parking; open; closed; stop; sale; welcome; the end; chapter one; menu; password; error; page not found;
phone number; price list; timetable; title of a film; name of a street; company logo; a date in March; subtitle in
French; total amount; terms and conditions; wet paint; push; emergency; danger high voltage; last name; opening hours;
slide with a diagram; table of numbers; source code; licence plate; score board; newspaper headline; web address; email;
credits with names; year 1984; 50 percent; keep left; platform 9; do not disturb; room 101; version 2.0"""


def split(text: str, mark: str = ",") -> list[str]:
    return [" ".join(part.split()) for part in text.split(mark)]


def phrases() -> list[str]:
    draw = random.Random(0)
    things, living, qualities = split(THINGS), split(LIVING), split(QUALITIES)
    actions, places, sounds, topics = split(ACTIONS), split(PLACES), split(SOUNDS), split(TOPICS)
    nouns = things + living
    found = [*nouns, *actions, *sounds, *split(SAID, ";"), *split(SIGNS, ";")]
    patterns = [
        lambda: f"{draw.choice(qualities)} {draw.choice(nouns)}",
        lambda: f"{draw.choice(nouns)} {draw.choice(places)}",
        lambda: f"{draw.choice(living)} {draw.choice(actions)}",
        lambda: f"somebody {draw.choice(actions)} {draw.choice(places)}",
        lambda: f"{draw.choice(things)} and {draw.choice(nouns)}",
        lambda: f"sound of {draw.choice(sounds)}",
        lambda: f"talking about {draw.choice(topics)}",
        lambda: draw.choice(topics),
    ]
    found = list(dict.fromkeys(found))
    while len(found) < NUMBER:
        phrase = patterns[len(found) % len(patterns)]()
        if phrase not in found:
            found.append(phrase)
    return found[:NUMBER]


if __name__ == "__main__":
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("".join(f"{phrase}\n" for phrase in phrases()), encoding="utf-8")
