/** Sayings, first lines and examples that people take for a long password, as words; each is listed in all its spellings. */
export const phrases: readonly string[] = `
a bird in the hand is worth two in the bush
a journey of a thousand miles begins with a single step
a penny saved is a penny earned
a picture is worth a thousand words
a rolling stone gathers no moss
absence makes the heart grow fonder
actions speak louder than words
all animals are equal
all good things must come to an end
all roads lead to rome
all that glitters is not gold
all you need is love
all your base are belong to us
all work and no play makes jack a dull boy
an apple a day keeps the doctor away
another brick in the wall
beam me up scotty
beauty is in the eye of the beholder
better late than never
better safe than sorry
birds of a feather flock together
bohemian rhapsody
call me ishmael
carpe diem quam minimum credula postero
change is the only constant
cogito ergo sum
come as you are
correct horse battery
correct horse battery staple
correct-horse-battery-staple
correcthorsebatterystaple
correct battery horse staple
correct horse staple battery
correct horse battery stapler
correct horse battery staple 1
correct horse battery staple 123
curiosity killed the cat
do not go gentle into that good night
do or do not there is no try
dont count your chickens before they hatch
dont cry over spilled milk
dont look a gift horse in the mouth
dont panic dont panic
dont put all your eggs in one basket
dont stop believing
dont worry be happy
early to bed and early to rise
easy come easy go
elementary my dear watson
every cloud has a silver lining
every dog has its day
every rose has its thorn
everything is awesome
fear is the mind killer
fight for your right
for whom the bell tolls
four score and seven years ago
frankly my dear i dont give a damn
game of thrones
god bless america
god save the king
god save the queen
good things come to those who wait
great minds think alike
happy birthday to you
happy new year
harry potter and the philosophers stone
hasta la vista baby
hello darkness my old friend
hello my name is
hello world hello world
highway to hell
home is where the heart is
honesty is the best policy
houston we have a problem
i am the walrus
i am your father
i can do all things through christ
i have a dream
i love my family
i love my wife
i love my husband
i love you
i love you baby
i love you forever
i love you so much
i love you too much
i think therefore i am
i want to break free
i will always love you
ignorance is bliss
imagine all the people
in god we trust
in the beginning god created the heavens and the earth
in vino veritas
it is what it is
it was a dark and stormy night
it was the best of times
its a small world
jesus loves me
just do it just do it
keep calm and carry on
kiss me goodnight
knocking on heavens door
knowledge is power
laughter is the best medicine
let it be let it be
let me in please
let sleeping dogs lie
life is a highway
life is beautiful
life is good life is good
life is like a box of chocolates
like a rolling stone
live and let die
live long and prosper
long live the king
look before you leap
lord of the rings
love conquers all
love is in the air
love me tender
luke i am your father
make love not war
mary had a little lamb
may the force be with you
mind over matter
money cant buy happiness
money makes the world go round
my name is inigo montoya
my password is password
my secret password
my very secret password
never gonna give you up
never say never again
no pain no gain
no place like home
no smoke without fire
nobody is perfect
nothing else matters
now is the time for all good men
oh my god oh my god
oh say can you see
once upon a time
one ring to rule them all
one small step for man
our father who art in heaven
out of sight out of mind
password password password
patience is a virtue
peace and love
please let me in
practice makes perfect
pretty please with a cherry on top
purple monkey dishwasher
rage against the machine
red hot chili peppers
rolling in the deep
rome wasnt built in a day
romeo and juliet
roses are red violets are blue
row row row your boat
shall i compare thee to a summers day
shine on you crazy diamond
show me the money
silence is golden
smells like teen spirit
somewhere over the rainbow
stairway to heaven
star wars the empire strikes back
sticks and stones may break my bones
stranger things
sweet child of mine
sweet home alabama
take me to the river
teenage mutant ninja turtles
the answer is 42
the answer to life the universe and everything
the apple doesnt fall far from the tree
the best things in life are free
the cake is a lie
the devil is in the details
the early bird catches the worm
the end justifies the means
the grass is always greener on the other side
the lord is my shepherd
the meaning of life
the pen is mightier than the sword
the quick brown fox
the quick brown fox jumps over the lazy dog
the rolling stones
the truth is out there
the truth will set you free
there is no place like home
there is no spoon
theres no place like home
this is a password
this is a secret
this is a test
this is my password
this is not a password
this is the password
this is the way
this password is secure
three blind mice
time flies like an arrow
time heals all wounds
time is money
to be or not to be
to be or not to be that is the question
to infinity and beyond
to kill a mockingbird
tomorrow is another day
too many cooks spoil the broth
trust no one trust no one
twinkle twinkle little star
two heads are better than one
two wrongs dont make a right
under the bridge
viva las vegas
we are the champions
we are the world
we hold these truths to be self evident
we the people
we will rock you
welcome to the jungle
what doesnt kill you makes you stronger
what goes around comes around
when in rome do as the romans do
where there is a will there is a way
who let the dogs out
who wants to live forever
winter is coming
wish you were here
with great power comes great responsibility
yesterday all my troubles seemed so far away
you cant handle the truth
you cant teach an old dog new tricks
you had me at hello
you only live once
you shall not pass
change me please
change this password
do not forget this
enter your password
forgot my password
i forgot my password
i hate passwords
letmein letmein
new password here
please change me
please change this password
secret secret secret
temporary password
test test test test
top secret password
very long password
very secure password
my long password
a very long password
this is a long password
this is a very long password
this is a very secure password
this is my secure password
super secret password
super secure password
one two three four five
one two three four
eins zwei drei vier
uno dos tres cuatro
ich liebe dich
ich liebe dich so sehr
te quiero mucho
te amo mucho mi amor
je t aime mon amour
je t aime pour toujours
ti amo da morire
mot de passe
mot de passe secret
das ist mein passwort
mein passwort ist geheim
mein geheimes passwort
esta es mi clave
esta es mi contrasena
administrator password
default password
admin admin admin
root root root root
administrator administrator
`
  .trim()
  .split('\n')
