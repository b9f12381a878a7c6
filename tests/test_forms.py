r"""What people really write, kind by kind: right answers in every form, and beside each the near miss that is wrong.

Right ones are judged by lenient rules; wrong ones must not pass by either set, nor may strict rules pay what lenient
ones do not.
"""

import functools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkling.verify.math.grade import grade, same_answer
from thinkling.verify.math.latex import parse
from thinkling.verify.math.rules import LENIENT, RULES, STRICT

RIGHT = {
    "a number behind a factor": [
        ("n3^n", r"n\cdot 3^n"), ("(n-2)2^n+1", "1+2^n(n-2)"), ("3^2 5^3", "1125"), ("b 4", "4b"), (r"\sqrt{5} 3", r"3\sqrt5"),
    ],
    "a named quantity": [
        ("m+n=37", "37"), ("37", "m+n=37"), ("CD=8", "8"), (r"P(B)=\frac14", "0.25"), (r"\angle B=41^\circ", "41"),
        ("E[Y]=6", "6"), ("[PQR]=9", "9"), (r"n(A\cap B)=4", "4"), ("x=7+8=15", "15"), (r"y=\frac16\approx0.17", r"\frac16"),
        ("1.732", r"\sqrt3\approx1.732"), (r"\sqrt3", r"\sqrt3\approx1.732"), ("a=b=4", "4"), (r"\frac{dz}{dt}=3t", "3t"),
    ],
    "values by name": [("(y,x)=(5,3)", "(x,y)=(3,5)"), ("y=5, x=3", "(x,y)=(3,5)"), ("b=5, a=3", "(3,5)"), ("(m,b)=(2,7)", "(2,7)")],
    "defined functions": [
        ("T(n)=3^n-1", "3^n-1"), ("x(t)=4e^{-t}", "4e^{-t}"), ("Q(x)=x^2-1", "(x-1)(x+1)"), ("S(k)=k^2", "S(n)=n^2"),
    ],
    "qualifiers": [
        (r"f(x)=3x \text{ for all } x", "f(x)=3x"), (r"x=m\pi, m\in\mathbb Z", r"x=n\pi"), (r"3^n+1, n\ge2", "3^n+1"),
        (r"y=3x \ (x>1)", "y=3x"), (r"m\pi \text{ where } m \text{ is an integer}", r"m\pi"),
    ],
    "zeros and identities": [
        (r"\sin(4\pi)", "0"), (r"\cos\frac{3\pi}{2}", "0"), (r"\tan(3\pi)", "0"), (r"\cos 60^\circ", "1/2"),
        (r"\sin(\pi x+\pi)", r"-\sin(\pi x)"), (r"\sin(\frac{\pi}{7}x)+2", r"2+\sin\frac{\pi x}{7}"),
    ],
    "choices": [
        (r"\textbf{(C)}\ 19", "19"), (r"\textbf{(C)}\ 19", "C"), ("(C) 19", "C"), ("C. 19", "C"), ("Option C", "C"), ("C", "(C) 19"),
        (r"\text{C: } x = 5", "C"),
    ],
    "units and currencies": [
        (r"7\text{ N}", "7"), (r"50\text{ Hz}", "50"), (r"9.8\mathrm{~m}/\mathrm{s}^2", "9.8"), ("9.8", r"9.8\mathrm{~m}/\mathrm{s}^2"),
        ("€30", "30"), ("7cm", "7"), (r"72\text{ km/h}", r"1.2\text{ km/min}"), (r"3000\text{ m}", r"3\text{ km}"), (r"90\text{ minutes}", r"1.5\text{ hours}"),
        (r"5\,\mathrm{m\,s^{-1}}", r"5\text{ m/s}"), (r"8\ \mathrm{k\Omega}", r"8000\text{ ohms}"), ("4 m/s", "4"), (r"\qty{4}{cm}", "4"),
        (r"\$7 per hour", "7"), (r"6\text{ sq. units}", "6"), (r"12 \mathrm{~\mu m}", r"0.012\text{ mm}"),
    ],
    "rounding": [
        ("299792458", r"2.998\times10^8"), (r"1.60218\times10^{-19}", r"1.60\times10^{-19}"), (r"\frac{1}{15}", r"6.67\%"),
        ("17.3205", r"17.32\text{ cm}"), (r"\frac13", "0.333"),
    ],
    "sets": [
        (r"x\ne1,2", r"\mathbb{R}\setminus\{1,2\}"), (r"x\ne2,1", r"x\ne1, x\ne2"), (r"x\neq 1\text{ and }2", r"(-\infty,1)\cup(1,2)\cup(2,\infty)"),
        (r"\{4\}\cup[5,6]", r"[5,6]\cup\{4\}"), (r"(-\infty,\infty)", r"\mathbb{R}"), (r"\mathbb{R}-\{2\}", r"x\ne2"), ("|x|<5", "(-5,5)"),
        ("-x>-3", "x<3"), ("3x+1>7", "x>2"), ("x^2<9", "(-3,3)"), (r"x^2-7x+10\le0", "[2,5]"), (r"\frac{1}{x}>2", r"(0,\frac12)"),
        (r"\frac{x-2}{x+3}\ge0", r"(-\infty,-3)\cup[2,\infty)"), (r"|x-2|\ge3", r"x\le-1 \text{ or } x\ge5"), (r"|x-1|+|x+1|\le2", "[-1,1]"), (r"||x|-3|<1", r"(-4,-2)\cup(2,4)"), ("x^2>2", r"x<-\sqrt2 \text{ or } x>\sqrt2"),
        (r"x\le-2, x\ge2", r"(-\infty,-2]\cup[2,\infty)"), (r"\{n\in\mathbb{Z}: n>4\}", r"\{n \in \mathbb{Z} \mid n > 4\}"),
        (r"(x,y)\in\{(1,3),(3,1)\}", "(3,1),(1,3)"),
    ],
    "sums, integrals, cases, congruences, matrices": [
        (r"\sum_{k=0}^{n}3^k", r"\frac{3^{n+1}-1}{2}"), (r"\sum_{k=1}^{n}f(k)", r"\sum_{j=1}^{n}f(j)"), (r"\prod_{k=1}^{n}k", "n!"),
        (r"\int_0^2 x^2\,dx", r"\frac83"), (r"\int_0^1 e^{-x^2}dx", r"\int_0^1 e^{-t^2}dt"), (r"3\int_1^2 g(x)\,dx", r"\int_1^2 g(t)\,dt\cdot 3"),
        (r"\lim_{x\to2}\frac{x^2-4}{x-2}", "4"), (r"\begin{cases} x & x\ge0 \\ -x & x<0 \end{cases}", "|x|"),
        (r"\begin{cases} x=1 \\ y=5 \end{cases}", "(1,5)"), (r"x\equiv 4\pmod 9", r"4\pmod{9}"), (r"x\equiv 13\pmod 9", r"x\equiv4\pmod9"),
        (r"5\bmod 9", "5"), (r"\dot{y}=-ky", r"\dot{y}=-k y"), ("C(8,3)", "56"), (r"\frac{n!}{6(n-3)!}", r"\binom n3"),
        (r"\begin{pmatrix}1&2\\0&1\end{pmatrix}\begin{pmatrix}3\\4\end{pmatrix}", r"\begin{pmatrix}11\\4\end{pmatrix}"),
        (r"2\hat{i}-5\hat{j}", "(2,-5)"), (r"\mathbf{i}+3\mathbf{j}", "(1,3)"), ("[[1,2],[3,4]]", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"), (r"\frac{5!}{2!3!}", "10"),
        (r"\int_0^1x^2\,\mathrm{d}x", r"\frac13"), (r"\int_0^2x\,\mathrm dx", "2"), (r"x\equiv2\ (\mathrm{mod}\ 5)", r"x\equiv2\pmod 5"), (r"\frac{\hbar}{3 m}", r"\frac{\hbar}{3m}"),
    ],
    "separators": [
        ("35,145", "35, 145"), ("(2,000, 7)", "(2000,7)"), ("1000,75", "1000.75"), ("3,14", "3.14"), ("2,00,000", "200000"), ("1.234,5", "1234.5"),
    ],
    "free names": [(r"m\pi", r"k\pi"), ("Ce^{3x}", "c_1e^{3x}"), ("y=C_1e^{x}+C_2", "y=c_2+c_1e^{x}"), ("f(x)=px+q", "f(x)=ax+b")],
    "letters side by side": [(r"mg\cos\theta", r"gm\cos\theta"), ("pq", "qp"), ("a b", "ab")],
    "numbers in words": [
        ("six", "6"), ("thirty-two", "32"), (r"\text{two hundred}", "200"), ("negative 9", "-9"), ("2 dozen", "24"), ("7 million", "7000000"),
        ("4 lakh", "400000"), (r"5 \text{ sixteenths}", "5/16"), ("9th", "9"), (r"4^{\text{th}}", "4"), ("three and a half", "3.5"),
        (r"45^\circ 30'", r"45.5^\circ"), ("60 degrees 30 minutes", r"60.5^\circ"), (r"60^\circ 30\text{ minutes }36\text{ seconds}", "60.51"), ("1 degree and 30 minutes", r"\frac{\pi}{120}"), ("6'3\"", r"75\text{ inches}"), (r"1\text{ hour }15\text{ minutes}", r"75\text{ minutes}"),
    ],
    "labels": [(r"\text{Maximum} = 9, \text{Minimum} = 4", "9, 4"), ("Total: 30", "30"), (r"5 \text{ cows and } 3 \text{ goats}", "5,3")],
    "points as vectors": [
        ("(1,2)+t(3,4)", "(1+3t,2+4t)"), ("2(1,-2)", "(2,-4)"), (r"(1,2)\cdot(3,4)", "11"), (r"(1,2,3)\times(4,5,6)", "(-3,6,-3)"),
        (r"\langle1,2\rangle-\langle3,4\rangle", "(-2,-2)"),
    ],
    "functions by any name": [
        ("g(x)=5x", "f(x)=5x"), ("f(n)=n+1", "g(m)=m+1"), ("f(y,x)=y-x", "f(x,y)=x-y"), (r"f^{-1}(x)=\frac{x-3}{2}", r"\frac{x-3}{2}"),
        (r"(f\circ g)(x)=2x+5", "2x+5"), (r"x\mapsto 5x", "f(x)=5x"), ("y(x)=x^3", "x^3"),
    ],
    "aligned steps": [
        (r"\begin{align*}x&=2+3\\&=5\end{align*}", "5"), (r"\begin{aligned}2x&=10\\x&=5\end{aligned}", "5"),
        (r"\begin{aligned}x&=1\\y&=2\end{aligned}", "(1,2)"), (r"\begin{array}{l}x=1\\y=2\end{array}", "(1,2)"),
    ],
    "whole numbers in a set": [
        (r"\{n\in\mathbb{Z}: 2\le n<5\}", r"\{2,3,4\}"), (r"\{n\in\mathbb{Z}: n>2\}", r"\{n\in\mathbb{Z}\mid n\ge3\}"),
        (r"\{3k: k\in\mathbb{Z}\}", r"\{3n\mid n\in\mathbb{Z}\}"), ("]0,1[", "(0,1)"), ("[0,1[", "[0,1)"),
    ],
    "other digits and counters": [("۴۲", "42"), ("٤٢", "42"), ("42元", "42"), (r"42\text{厘米}", r"0.42\text{ m}")],
    "chosen letters": [("B - Paris", "B"), ("(B) P(A)", "B"), ("(B) both A and C", "B"), ("B (the second one)", "B"), ("100 mod 7", "2"), ("(A) and (C)", "A, C"), (r"\text{Both A and C}", "A, C"), (r"\text{Option B: } 73", "B")],
    "combinations": [(r"{}^{10}C_3", "120"), ("C_n^k", r"\binom nk"), (r"n!2^n", r"2^n n!")],
    "constants by any name": [("Ae^{2x}", "Ce^{2x}"), (r"A\sin x+B\cos x", r"C_1\cos x+C_2\sin x"), ("(t,2t)", "(s,2s)")],
    "dates and times": [
        ("March 5, 2024", "5 March 2024"), ("March 5, 2024", "2024-03-05"), ("Mar. 5, 2024", "2024/03/05"), ("the 5th of March", "March 5"),
        ("Monday, March 5", "March 5"), (r"\text{May } 5", "May 5"), ("noon", "12:00 pm"), ("midnight", "12:00 a.m."),
        ("15:30", "3:30 p.m."), ("3:30", "3:30 p.m."), ("0:15", "12:15 a.m."), ("2024-3-5", "2016"),
    ],
    "shares": [("half", "0.5"), ("a third", "1/3"), ("one-half", "1/2"), ("a quarter", "0.25"), ("two and three quarters", "2.75")],
    "matrices turned and inverted": [
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^T", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
        (r"\begin{bmatrix}1&2\end{bmatrix}^\top", r"\begin{bmatrix}1\\2\end{bmatrix}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^{-1}", r"\begin{pmatrix}-2&1\\1.5&-0.5\end{pmatrix}"),
        (r"\begin{pmatrix}0&2\\4&0\end{pmatrix}^{-1}", r"\begin{pmatrix}0&\frac14\\\frac12&0\end{pmatrix}"),
    ],
    "letters of matrices": [("(AB)^T", "B^TA^T"), (r"x^{\top}Ax", r"x^\top A x"), ("A^T+2B", "2B+A^T"), ("(1+r)^T", "(r+1)^T"), ("A^TI", "A^T")],
    "dots in a set": [
        (r"\{1,2,\ldots,10\}", r"\{1,2,3,4,5,6,7,8,9,10\}"), (r"\{2,4,6,\dots,12\}", r"\{2,4,6,8,10,12\}"), (r"\{1,2,\ldots,n\}", r"\{1,2,\dots,n\}"),
    ],
    "whole turns": [(r"\cos(2\pi n)", "1"), (r"\sin(\pi n)", "0"), (r"\cos(n\pi)", "(-1)^n")],
    "residues": [(r"x\equiv 1 \pmod 5", "x=5k+1"), (r"x\equiv 1 \pmod 5", "1"), (r"x\equiv -4 \pmod 5", r"x\equiv 1 \pmod 5")],
    "endless sums and limits": [
        (r"\sum_{k=0}^{\infty}\frac{1}{2^k}", "2"), (r"\sum_{n=1}^{\infty}3\left(\frac{-1}{3}\right)^{n-1}", r"\frac94"),
        (r"\sum_{k=2}^{\infty}\frac{2^k}{3^{k+1}}", r"\frac49"), (r"\lim_{x\to\infty}\frac{2x+1}{x-3}", "2"), (r"\lim_{x\to\infty}\frac1x", "0"),
        (r"\lim_{x\to-\infty}\frac{3x^2}{2x^2+x}", "1.5"),
    ],
    "arguments without brackets": [
        (r"\cos\pi/4", r"\frac{\sqrt2}{2}"), (r"\cos\pi(x+2)", r"\cos(\pi x+2\pi)"), (r"5\sin\frac{\pi}{8}(t-3)", r"5\sin(\frac{\pi t}{8}-\frac{3\pi}{8})"),
        (r"v\sin 30^\circ t", "0.5vt"), (r"\frac{\sin \pi x}{\pi x}", r"\frac{\sin(\pi x)}{x\pi}"),
    ],
    "long sums": [(r"\sum_{k=1}^{1000}k^2", "333833500"), (r"\sum_{j=7}^{10^5}(2j-1)", "9999999964")],
    "other separators and quantities": [
        (r"4,5\%", r"4.5\%"), ("3,25 cm", "3.25 cm"), ("0,75", r"\frac34"), ("2.345.678", "2345678"), ("2'345'678", "2345678"), ("(4,000, 7)", "(4000,7)"),
        ("6 feet, 3 inches", "75 inches"), ("1 hour, 15 minutes", "75 minutes"), (r"8\text{ per cent}", r"8\%"), (r"US\$30", r"\$30"), ("USD 30", r"\$30"),
        (r"30\text{ °C}", r"30^\circ C"), ("14 points", "14"), ("{}_8C_3", "56"), ("_8C_3", "56"), (r"2\vec{i}-3\vec{j}", "(2,-3)"), (r"\hat{\imath}+4\hat{\jmath}", "(1,4)"),
    ],
    "more names, qualifiers and bounds": [
        (r"\mathbb{P}(Y=2)=\frac14", r"\frac14"), ("Answer: C", "C"), (r"3x+C, \text{ where } C \text{ is a constant}", "3x+C"), (r"2^q-1, q\text{ prime}", "2^q-1"),
        ("x>2, x<7", "(2,7)"), ("3, 8", "x=3, y=8"), ("x_1=3, x_2=8", "8, 3"), ("x_1=3, x_2=8", "x=8, x=3"),
    ],
    "cross products": [(r"\vec{a}\times\vec{b}", r"-\vec{b}\times\vec{a}")],
    "complex roots": [
        ("z^2+1=0", r"\{i,-i\}"), ("z^2+2z+5=0", r"-1\pm2i"), ("z^4-1=0", r"\{1,-1,i,-i\}"), ("z^2=-2", r"\{i\sqrt2,-i\sqrt2\}"),
        ("x^2+1=0", r"\emptyset"),
    ],
    "equations": [("x^2-7x+12=0", r"\{3,4\}"), (r"x=\frac{5-y}{3}", "3x+y=5"), ("(3+2i)z", "3z+2iz")],
    "equations solved for another name": [
        ("a=F/m", "F=ma"), ("PV=nRT", r"P=\frac{nRT}{V}"), ("m=E/c^2", "E=mc^2"), ("y=1/x", "xy=1"), (r"\frac xy=3", "x=3y"), (r"a=\frac{F-b}{m}", "F=ma+b"),
    ],
    "stops and styles": [("45,", "45"), (r"45\\\\", "45"), (r"\bf 45", "45"), ("45 ✓", "45"), ("45-th", "45"), ("Rs. 45", "₹45"), (r"\$45/hr", r"\$45\text{ per hour}"), ("45 persons", "45 people")],
    "letters that are units": [
        ("5 milliamps", r"0.005\text{ A}"), ("5 megatons", "5000 kilotons"), ("5 microbes", "5"), ("45 g/mol", "45"), ("9.8 m/sec^2", r"9.8\text{ m/s}^2"), ("45 kmph", "45 km/h"),
        ("300 cm", "3 m"), ("36 km/h", "10 m/s"), ("3000 g", "3 kg"), ("3h", "3 hours"), ("1 L", "1000 cm^3"), ("20000 cm^2", "2m^2"), ("1 h 15 min", "75 min"),
        ("2 m 40 cm", r"2.4\text{ m}"), ("6 a day", "6 per day"), (r"\$3+\$4=\$7", r"\$7"),
    ],
    "sets by other signs": [
        (r"\mathbb{R}^+", r"(0,\infty)"), (r"\mathbb{R}_{\ge0}", r"[0,\infty)"), (r"\mathbb R_{+}", "x>0"), (r"\mathbb{R}^-", r"(-\infty,0)"), (r"\{1,\ldots,5\}", r"\{1,2,3,4,5\}"),
        (r"x\notin\{1,2\}", r"\mathbb{R}\setminus\{1,2\}"), (r"x\not\in[1,2]", r"(-\infty,1)\cup(2,\infty)"), (r"\|(6,8)\|", "10"), (r"|(a,b)|", r"\sqrt{a^2+b^2}"),
    ],
    "names with an index": [
        (r"\sum_{k=1}^{n}x_k", r"\sum_{i=1}^{n}x_i"), (r"\frac1n\sum_{k=1}^{n}x_k", r"\frac{\sum_{i=1}^n x_i}{n}"), (r"\sum_{k=1}^{3}x_k", "x_1+x_2+x_3"),
        (r"\sum_{k=1}^{n}3f(k)", r"3\sum_{j=1}^{n}f(j)"), (r"\sum_{k=1}^{3}f(k)", "f(3)+f(2)+f(1)"), (r"\lim_{n\to\infty}a_n", r"\lim_{k\to\infty}a_k"),
        (r"\sum_{k=1}^n a_{jk}b_{kl}", r"\sum_{i=1}^n a_{ji}b_{il}"),
    ],
    "remainders": [(r"7\bmod 4", "3"), (r"17\pmod 5", "2"), (r"2^{10}\bmod 7", "2"), (r"-4\pmod 9", "5"), (r"-4\pmod 9", "-4")],
    "shares, powers and odds in words": [
        ("5 out of 8", r"\frac58"), ("1 in 4", "0.25"), ("3 over 7", r"\frac37"), ("6 squared", "36"), ("4 cubed", "64"), ("7 and 1/2", "7.5"), ("3 to 1", "3:1"),
    ],
    "named by more signs": [
        (r"\arg z=\pi", r"\pi"), (r"\dim V=3", "3"), (r"f\colon x\mapsto 3x", "f(x)=3x"), (r"\frac{dy}{dx}=3x", "y'=3x"), (r"\frac{d^2y}{dx^2}=6", "y''=6"),
        ("x=y=7", "x=7, y=7"), ("x equals 7", "x=7"), ("x is 7", "7"), (r"0.333\approx\frac13", r"\frac13"), (r"3.14\approx\pi", r"\pi"), (r"\ 7\ ", "7"),
    ],
}  # fmt: skip
WRONG = {
    "pairs that would be empty as intervals": [
        (r"(3, \frac{\pi}{2})", r"\emptyset"), (r"\emptyset", "(3,1)"), ("(2,2)", r"\emptyset"), ("[5,4]", "no solution"), (r"(3,2)\cup(5,6)", "(5,6)"),
        (r"(2,1), n\ge1", "(-1,6)"), ("(3,1)", "(3,1]"),
    ],
    "relations without a variable": [
        (r"\sqrt3\approx1.732", r"\sqrt2\approx1.414"), ("f(4)=5", "f(4)=7"), ("f(4)=5", "f(6)=5"), ("1<3", "4<5"), ("g(1)=2, g(2)=5", "g(1)=3, g(2)=6"),
        ("1.732", r"\sqrt2\approx1.414"), (r"\sqrt2\approx1.415", r"\sqrt2\approx1.414"), ("2+2=4", "2+3=5"), (r"\max f=3", r"\min f=3"), ("x=y=7", "x=z=7"), ("x=y=7", "x=7"), (r"\log_3 9=2", r"\log_3 27=3"),
        ("P(A)=1/2", "P(B)=1/2"), ("PQ=5", "RS=5"),
    ],
    "values by name": [("x=1, y=2", "(y,x)=(1,2)"), ("b=1, a=2", "(1,2)"), ("(a,b)=(2,3)", "a=3, b=2"), ("x=1, y=2", "x=1, z=2")],
    "case and spaces of unread text": [
        (r"\frac{\hbar^2}{2M}", r"\frac{\hbar^2}{2m}"), (r"\int_0^1 G(x)dx", r"\int_0^1 g(x)dx"), (r"\foo A", r"\foo a"), (r"\foo 1 2", r"\foo 12"),
    ],
    "words that change a number": [
        ("7 degrees below zero", "7"), ("7 lakh", "7"), ("7 sixteenths", "7"), ("7 in debt", "7"), ("7 loss", "7"), ("7 short", "7"),
        ("7 fewer", "7"), ("7 overdrawn", "7"), (r"7 \text{ under par}", "7"), ("7 minutes ago", "7"), ("7 degrees south", "7"), ("7 complement", "7"),
        ("7 crore", "7"), ("7 too many", "7"), ("7 squared", "7"), ("7 percent less", "7"), ("7 halves", "7"), ("7 units to the left", "7"),
    ],
    "bends far from the origin": [
        ("|n-2025|+n", "2025"), ("|x+10|-10", "|x+11|-11"), (r"\min(x,-5)", "-5"), (r"\gcd(n,1009)", "1"), (r"\max(x,300)", "300"),
        (r"\lfloor\frac{n}{5000}\rfloor", "0"), (r"\sqrt{(x-500)^2}", "500-x"), (r"\frac{|x-321|}{x-321}", "-1"), (r"\lceil\frac{n}{777}\rceil", "1"),
        ("|x-100|+|y+200|", "300+y-x"), (r"||x-70|-3|", "67-x"), ("x+|x^3-8000|", "x+8000-x^3"), ("|x-400|=5", "x-400=5"),
    ],
    "percent": [("0.5", r"0.5\%"), (r"0.5\%", "0.5"), (r"50\%", r"5\%"), ("1", r"1\%")],
    "near misses of vectors, functions and steps": [
        ("(1,2)+t(3,4)", "(1+3t,2-4t)"), ("2(1,-2)", "(2,4)"), ("g(x)=5x", "f(x)=6x"), ("f(x)=2x, g(x)=3x", "g(x)=2x, f(x)=3x"),
        ("f'(x)=2x", "f(x)=2x"), ("f(x,y)=x-y", "f(y,x)=x-y"), (r"f^{-1}(x)=2x", "f(x)=2x"), ("f(2)=4", "g(2)=4"), ("e^{kt}", "e^{ct}"),
        (r"\begin{align*}x&=2+3\\&=6\end{align*}", "6"), (r"\begin{cases}x&=5\\y&=6\end{cases}", "6"), ("x=5, y=5", "5"),
        (r"\{n\in\mathbb{Z}: 1\le n\le3\}", "[1,3]"), (r"\{2k: k\in\mathbb{Z}\}", r"\{3k: k\in\mathbb{Z}\}"), ("April 5", "March 5"),
        ("May 5", "5"), ("half of 10", "10"), ("nicht 42", "42"), (r"\binom{n}{20}", "0"), (r"n \bmod 1000", "n"), ("]0,1[", "[0,1]"), ("(a,b)", "(b,a)"), ("[0,1[", "(0,1)"),
    ],
    "near misses of endless sums": [
        (r"\sum_{k=0}^{\infty}\frac{1}{2^k}", "1"), (r"\sum_{k=1}^{\infty}\frac{1}{2^k}", "2"), (r"\sum_{k=0}^{\infty}2^k", "-1"), (r"\sum_{k=0}^{\infty}1", "1"),
        (r"\sum_{k=0}^{\infty}(-1)^k", "0.5"), (r"\lim_{x\to\infty}\frac{2x^2+1}{x-3}", "2"), (r"\lim_{x\to\infty}\frac{2x+1}{x-3}", "3"), (r"\lim_{x\to\infty}x", "1"),
    ],
    "names that run over other numbers": [
        (r"x=k\pi, x\in\mathbb{Z}", r"x=k\pi, k\in\mathbb{Z}"),
        (r"x=k\pi, k\in\mathbb{R}", r"x=k\pi, k\in\mathbb{Z}"), (r"x=k\pi \text{ for real } k", r"x=k\pi, k\in\mathbb{Z}"), (r"k\pi, k\in\mathbb{N}", r"k\pi, k\in\mathbb{Z}"),
    ],
    "names that are not free": [
        (r"2x \text{ for } x>3", "2k"), ("x^2, x>3", "t^2"), (r"\frac{v^2}{r}, r>0", r"\frac{v^2}{R}"),
        (r"\sin(nx)+\pi", r"\sin(mx)+\pi"), ("C+5", "K+5"), ("2s", "2t"), ("e^{rt}", "e^{st}"), (r"n=\pi m", r"k=\pi m"), ("Cq", "Aq"), ("mt", "mu"),
        (r"\sin(m)+\lfloor m\rfloor-m", r"\sin(m)"),
    ],
    "bounds of another name": [(r"x\equiv3\pmod5", r"y\equiv3\pmod5"), ("x<2", "y<2"), (r"x\in[0,1]", r"y\in[0,1]"), (r"x\ne9", r"y\ne9"), ("|x-2|+x>1", "x>1.5"), ("|x-1|+|x+1|\\le2", "(-1,1)")],
    "near misses of dates and times": [
        ("3:30 p.m.", "3:30 a.m."), ("15:30", "3:30 a.m."), ("4:30", "3:30 p.m."), ("12:15 p.m.", "0:15"), ("March 5", "5"), ("March 5", "March 6"),
        ("March 5, 2024", "March 5, 2023"), ("2024-03-05", "2024-05-03"), ("2024-03-05", "2016"), ("March 2024", "March 20"), ("noon", "midnight"),
        ("third", "1/3"), ("a third", "3"), ("a second", "1/2"), ("two and a half", "2"),
    ],
    "near misses of degrees and their parts": [
        ("60 degrees 30 minutes", "60"), ("60 degrees 30 minutes", "60.3"), ("60 degrees, 30 minutes", "60.5"), ("60 degrees 30 minutes", "60.5 minutes"),
        ("30 minutes, 2 hours", "2 hours 30 minutes"), ("30 minutes, 2 hours", "1.5"),
    ],
    "near misses of sets, turns and matrices": [
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^T", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^{-1}", r"\begin{pmatrix}-2&1\\1.5&0.5\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\\2&4\end{pmatrix}^{-1}", r"\begin{pmatrix}1&2\\2&4\end{pmatrix}"),
        ("A^TB", "BA^T"), ("(AB)^T", "A^TB^T"), ("A^TA", "AA^T"), (r"x^\top Ax", r"x^\top xA"), ("A^T", "A"), ("HTH", "THH"),
        (r"\{1,2,\ldots,10\}", r"\{1,2,10\}"), (r"\{1,2,\ldots,10\}", r"\{1,2,3,4,5,6,7,8,9,11\}"), (r"\{1,2,4,\ldots,64\}", r"\{1,2,4,64\}"),
        (r"x\ne1,2", r"x\ne1"), (r"x\ne1,2", "1,2"), (r"x\ne1,2", r"x\ne1,3"), (r"y\ne1,2", r"x\ne1,2"), (r"x\ne1,2,\ldots", r"x\ne1,2"),
        (r"\{1,2,\ldots,n\}", r"\{1,2,\ldots,m\}"), (r"\cos(n\pi)", "1"), (r"\cos(2\pi x)", "1"), (r"\sin\frac{n\pi}{2}", "0"), (r"\cos(2n)", "1"),
        ("z^2+1=0", r"\{i,2i\}"), ("z^2+2z+5=0", r"1\pm2i"), ("z^4-1=0", r"\{i,-i\}"), ("x^2-1=0", r"\emptyset"),
        (r"x\equiv 1 \pmod 5", "x=1"), (r"x\equiv 1 \pmod 5", "x=5k+2"), (r"x\equiv 1 \pmod 5", "x=10k+1"),
        (r"\vec{a}\times\vec{b}", r"\vec{a}\cdot\vec{b}"), (r"\vec{a}\times\vec{b}", r"\vec{b}\times\vec{a}"),
    ],
    "names that a list gives its values": [
        ("y=1, y=2", "x=1, y=2"), ("y=1, y=2", "x=1, x=2"), ("8, 3", "x=3, y=8"), (r"\{3,8\}", "x=3, y=8"), ("x=3, z=8", "x=3, y=8"),
        ("(1,3), (2,4)", "(1,4)"), ("a_1=3, a_2=5", "5, 3"),
    ],
    "near misses of arguments without brackets": [
        (r"\cos\pi/4", r"-\frac14"), (r"\cos\pi(x+2)", "-x-2"), (r"\sin\pi x/2", r"\frac{\sin(\pi x)}{2}"), (r"\sin\frac{\pi}{6}(3)", "1"), (r"\sin\frac{\pi}{6}(3)", r"\frac32"),
        (r"v\sin 30^\circ t", r"v\sin(30^\circ t)"),
    ],
    "near misses of separators and quantities": [
        ("(4,000, 7)", "(4,0,7)"), ("(4,000,7)", "(4,0,7)"), ("3,25 cm", "325 cm"), ("0,75", r"\frac{75}{1}"), ("2.345.678", "2.345"), ("6 feet, 3 inches", "6.3 feet"),
        ("6 feet, 13 inches", "85 inches"), ("5 percentage points", "5"), ("9 feet underground", "9"), ("90 degrees clockwise", "90"), ("9 dollars refunded", "9"),
        ("0,050", "50"), ("x>2, x<7", "[2,7]"), ("x>2, y<7", "(2,7)"), (r"\sum_{k=1}^{1000}k^2", "333833501"), (r"\prod_{k=1}^{1000}k", "1000"),
    ],
    "infinity and zero": [(r"0\cdot\infty", "0"), (r"(x-x)\infty", "0"), (r"(\infty,0\cdot\infty)", r"(\infty,0)"), (r"\infty-\infty", "0"), (r"\frac{\infty}{\infty}", "1")],
    "letters with a text that is none": [
        (r"\text{(B)}, 41", r"\text{(B)}"), (r"(B) \text{ or } 41", "(B)"), (r"\text{(B)} \text{ is wrong}", "B"), (r"\text{(B)}\to 41", "B"), ("(B) million", "B"),
        ("(B) 5 or (C) 6", "B"), ("(B) 5, (C) 6", "B"), ("B (or C)", "B"), ("B (not C)", "C"), ("(B) (C)", "B"), ("B. C", "B"), ("(B) could be (C)", "B"), ("(B) 5; C", "B"),
        (r"1, \begin{pmatrix} 2 \\ 3 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 3 \end{pmatrix}"),
    ],
    "conditions that change a number": [("5 for 6", "5"), ("5 with remainder 2", "5"), (r"5 \text{ if it rains}", "5")],
    "more words that change a number": [
        ("5 mil", "5"), ("5 degrees frost", "5"), ("5 in the hole", "5"), ("5 onwards", "5"), ("5 grand", "5"), ("5 myriads", "5"), ("5 mln", "5"), ("5 kilodollars", "5"), ("5 megapounds", "5"), ("5 apples every second day", "5"),
        ("5 out of 8", "5"), ("5 out of 8", "8"), ("5 squared", "5"), ("5 in 6", "5"), ("5 and 1/2", "5"), ("8 in 5", "0.2"), ("1 to 3", "3:1"),
    ],
    "labels in another order": [
        ("Width = 3, Length = 4", "4, 3"), ("Maximum = 1, Minimum = 2", "2, 1"), ("Alice: 5, Bob: 6", "Alice: 6, Bob: 5"), ("Max = 1, Min = 2", "Maximum = 2, Minimum = 1"),
    ],
    "other remainders": [
        (r"3\bmod 2", "3"), (r"2^{10}\bmod 7", "1024"), (r"17\pmod 5", "17"), (r"5\bmod 9", "14"), (r"x\equiv 2\pmod 3", r"x\equiv 2\pmod 6"),
    ],
    "names with another index": [
        (r"\sum_{k=1}^{3}x_k", "3x_k"), (r"\sum_{k=1}^{n}x_k", "nx_k"), (r"\prod_{k=1}^{n}x_k", "x_k^n"), (r"\sum_{k=1}^{n}x_{k+1}", r"\sum_{i=1}^{n}x_i"),
        (r"\sum_{k=1}^{3}x_k", "x_1+x_2+x_4"), (r"\sum_{k=1}^{n}a_{kj}", r"\sum_{i=1}^{n}a_{ji}"), (r"\sum_{k=1}^{n}x_k^2", r"\left(\sum_{i=1}^{n}x_i\right)^2"),
        (r"\lim_{n\to\infty}a_n", "a_n"), (r"\sum_{k=1}^{n}x_{min}", r"\sum_{i=1}^{n}x_{mkn}"),
    ],
    "equations that only look solved": [
        ("x(y-1)=0", "y=1"), ("xy=x", "y=1"), (r"y=\sqrt x", "y^2=x"), ("a=m/F", "F=ma"), ("V=I/R", "I=V/R"), ("xyz=xy", "z=1"), ("tx=0", "t=0"), ("y=2x", "x/y=2"),
    ],
    "letters that are other units": [(r"\frac{F}{m}", "1"), ("a=m/F", "1"), ("300 cm", "3 s"), ("300 cm", "30 m"), (r"5m", r"5\text{ cm}"), ("18 km/h", "18 m/s"), (r"5 x", r"5\text{ cm}"), ("1 h 15 min", "1.15 hours")],
    "dots behind a number": [("5.33...", "5.33"), ("5...", "5"), ("0.3...", "0.3")],
    "near misses of sets and signs": [
        (r"\mathbb{R}^+", r"[0,\infty)"), (r"\mathbb{R}^+", r"\mathbb{R}"), (r"\mathbb{R}^2", r"\mathbb{R}"), (r"\{1,\ldots,5\}", r"\{1,2,3,4,6\}"), (r"x\notin\{1\}", r"x\in\{1\}"),
        (r"|(6,8)|", "14"), (r"\frac{d^2y}{dx^2}=6", "y'=6"), (r"\frac{dy}{dt}=3t", "y'=3t"), (r"0.34\approx\frac13", r"\frac13"), (r"\$3+\$4=\$8", r"\$7"),
    ],
    "near misses of the new forms": [
        ("n2^{n-1}", "n2^{n+1}"), ("2x=10", "10"), ("x-4=0", "0"), ("T(n)=2^n", "2^m"), ("f(q)=ax+b", "f(x)=ax+b"), ("2^n, n>1", "2^n, n>2"),
        (r"k\pi, k\in\mathbb{N}", r"k\pi, k\in\mathbb{Z}"), ("(B) 42", "(C) 42"), ("(B) 42", "(B) 43"), (r"1000\text{ cm}", r"1\text{ km}"),
        (r"5\text{ N}", r"5\text{ J}"), ("x^2<4", "[-2,2]"), (r"\frac{1}{x}>1", r"(-\infty,1)"), (r"\sum_{k=1}^n k", r"\sum_{k=1}^{n+1} k"),
        (r"\int_0^1 f(x)dx", r"\int_0^2 f(x)dx"), (r"x\equiv3\pmod5", r"x\equiv3\pmod7"), (r"x\equiv3\pmod5", r"x\equiv4\pmod5"),
        (r"\begin{cases} x & x\ge0 \\ -x & x<-1 \end{cases}", "|x|"), ("45,135", "135,46"), ("1,5", "15"), ("m+x", "m+y"), ("Ce^{2x}", "Ce^{3x}"),
        ("X=k\\pi", "x=k\\pi"), ("god", "dog"), ("thirteen", "30"), ("3rd", "1/3"), ("x^2=4", "2"), ("x^2=4", r"\{2,3\}"),
        (r"30^\circ 15'", r"30.15^\circ"), ("3.1", "3.14"), (r"2.99\times10^8", r"2.998\times10^8"), ("P(A]=1/2", "P(A)=1/2"), ("(3,1]", "(3,1)"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind, answer, reference", [(kind, *pair) for kind, pairs in RIGHT.items() for pair in pairs])
def test_right_in_every_form(kind: str, answer: str, reference: str) -> None:
    verdict = grade(rf"\boxed{{{answer}}}", reference)
    assert verdict.correct, verdict.reason
    assert "\n" not in verdict.reason and len(verdict.reason) < 200


@pytest.mark.parametrize("kind, answer, reference", [(kind, *pair) for kind, pairs in WRONG.items() for pair in pairs])
@pytest.mark.parametrize("mode", ["strict", "lenient"])
def test_a_near_miss_is_never_right(kind: str, answer: str, reference: str, mode: str) -> None:
    for one, other in ((answer, reference), (reference, answer)):
        assert not grade(rf"\boxed{{{one}}}", other, mode).correct


@pytest.mark.parametrize(
    "response, reference",
    [
        ("The answer is about 18.", "18"), ("The answer is 18, not 20.", "18"), ("The answer is $18 per day.", "18"), ("Ans: 5", "5"),
        ("Result: 5", "5"), ("The result: 5<|im_end|>", "5"), ("Maximum = 9, Minimum = -4", "9, -4"), ("Ответ равен 42.", "42"), ("Ответ — 42", "42"),
        (r"\text{Answer: } 42", "42"), ("**Answer:** Mia makes **$18** every day.", "18"), ("The answer is '5'.", "5"), ("Answer → 5", "5"),
        ("The answer is 5. Wait, that is wrong. It is 6.", "6"), ("<answer>42</answer>", "42"), ("<answer>$x = 42$</answer><|im_end|>", "42"),
        ('{"answer": "42"}', "42"), ("```\n42\n```", "42"), ("答案是 42。", "42"), ("La réponse est 42.", "42"), ("Die Antwort lautet 42.", "42"),
        ("La respuesta es 42.", "42"), ("Ответ: 42", "42"), ("پاسخ: 42", "42"), (r"\boxed{４２}", "42"), ("42</s>", "42"), ("Answer: 28 pct", "28"),
        ("So 7 is the final answer.", "7"), ("She makes $18 per day.", "18"), ("Total cost: $18", "18"), ("Therefore, 7.", "7"), ("The answer is 5/6 or about 0.833.", "5/6"),
        ("The answer is 5 (not 6).", "5"), ("18 dollars a day", "18"),
    ],
)  # fmt: skip
def test_claims(response: str, reference: str) -> None:
    assert grade(response, reference).correct
    strict = grade(response, reference, "strict")
    assert strict.correct == ("boxed" in response)


@pytest.mark.parametrize(
    "response, reference",
    [
        ("The answer is 5. Wait, that is wrong.", "5"), ("The answer is not 5.", "5"), ("The answer is 20, not 18.", "18"),
        ("The answer is 5. Sorry, it is 6.", "5"), ("The answer is more than 5.", "5"), ("<answer>5 or 6</answer>", "5"),
        ("The answer is 5 below zero.", "5"), (r"\boxed{5} no, \boxed{6", "5"), ("7 is not the answer.", "7"), ("Neither 7 nor 8 is the answer.", "7"),
        ("She makes $18 less than 20.", "18"), ("The answer is 5 (not 6).", "6"), ("Is 7 the answer?", "7"),
    ],
)  # fmt: skip
def test_what_is_withdrawn_or_denied_is_no_answer(response: str, reference: str) -> None:
    mode = "strict" if "boxed" in response else "lenient"
    assert not grade(response, reference, mode).correct


def test_an_answer_that_was_not_read_says_which_words_stopped_it() -> None:
    verdict = grade(r"\boxed{7 degrees below zero}", "7")
    assert verdict.status == "unparsed" and "the word" in verdict.reason


# Properties


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    """Each text is read once: reading is pure, and the properties draw from the same texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thinkling.verify.math.grade.parse", functools.cache(parse))
        yield


numbers = st.integers(-400, 400)
texts = [text for _, pairs in (*RIGHT.items(), *WRONG.items()) for pair in pairs for text in pair]


@given(st.sampled_from(texts), st.sampled_from(texts))
def test_what_strict_rules_pay_lenient_ones_pay_and_strict_ones_are_symmetric(answer: str, reference: str) -> None:
    strict = grade(rf"\boxed{{{answer}}}", reference, "strict").correct
    assert not strict or grade(rf"\boxed{{{answer}}}", reference).correct
    assert same_answer(answer, reference) == same_answer(reference, answer)


@given(st.sampled_from(texts))
def test_every_form_is_itself(text: str) -> None:
    assert same_answer(text, text)


USED = {
    "rounding": (r"\pi", "3.14"), "number words": ("five", "5"), "labels": ("Total: 45", "45"), "separators": ("2,74", "2.74"),
    "free names": (r"m\pi", r"k\pi"), "conditions": ("2^n-1, n>1", "2^n-1"), "letter units": ("60 m/s", "60"),
    "steps": (r"\begin{aligned}2x&=10\\x&=5\end{aligned}", "5"), "vectors": (r"3\hat{i}+4\hat{j}", "(3,4)"),
    "solved": ("F=ma", "a=F/m"), "roots": ("x^2=9", r"\{3,-3\}"), "clock": ("15:30", "3:30 p.m."), "times sign": ("3 x 4", "12"),
}  # fmt: skip


@pytest.mark.parametrize("rule", USED)
def test_every_lenient_rule_of_comparing_is_used(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, reference = USED[rule]
    assert grade(rf"\boxed{{{answer}}}", reference).correct
    monkeypatch.setattr("thinkling.verify.math.grade.LENIENT", LENIENT - {rule})
    assert not grade(rf"\boxed{{{answer}}}", reference).correct


def test_every_rule_has_such_a_test() -> None:
    """What finds the answer is tested in test_extract.py."""
    assert set(USED) | {"unboxed", "cut-off box"} == LENIENT - STRICT


def test_strict_rules_are_a_part_of_the_lenient_ones() -> None:
    assert STRICT < LENIENT == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


@given(numbers, numbers, st.sampled_from(["|x-{0}|", r"\max(x,{0})", r"\min(x,{0})", r"\sqrt{{(x-{0})^2}}"]))
def test_two_expressions_that_bend_elsewhere_differ(place: int, other: int, form: str) -> None:
    shifted = form.format(f"({place})"), form.format(f"({other})")
    assert same_answer(*shifted) == (place == other)
    assert not same_answer(shifted[0], f"({place})-x") and not same_answer(shifted[0], f"x-({place})")


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([("km", "m", 1000), ("hours", "minutes", 60), ("kg", "g", 1000), ("feet", "inches", 12)]),
)
def test_units_are_converted_exactly(value: int, other: int, units: tuple) -> None:
    large, small, times = units
    assert same_answer(rf"{value}\text{{ {large}}}", rf"{value * times}\text{{ {small}}}")
    assert same_answer(rf"{value}\text{{ {large}}}", rf"{other}\text{{ {small}}}") == (value * times == other)


@given(st.integers(-9, 9), st.integers(-9, 9), st.sampled_from(["<", r"\le", ">", r"\ge"]))
def test_a_quadratic_inequality_is_its_interval(a: int, b: int, sign: str) -> None:
    low, high = min(a, b), max(a, b)
    text = f"x^2+({-a - b})x+({a * b}){sign} 0"
    brackets = "()" if sign == "<" else "[]"
    inside = f"{brackets[0]}{low},{high}{brackets[1]}"
    if sign in ("<", r"\le") and low < high:
        assert same_answer(f"x \\in {inside}", text)
        assert not same_answer(f"x \\in {inside.replace(str(high), str(high + 1))}", text)


@given(st.integers(0, 12), st.integers(1, 12))
def test_a_sum_is_its_closed_form(first: int, count: int) -> None:
    last = first + count
    total = sum(range(first, last + 1))
    assert same_answer(rf"\sum_{{k={first}}}^{{{last}}} k", str(total))
    assert not same_answer(rf"\sum_{{k={first}}}^{{{last + 1}}} k", str(total))


@given(st.integers(-30, 30), st.integers(2, 12), st.integers(-3, 3))
def test_residues_are_compared_by_their_modulus(value: int, modulus: int, turns: int) -> None:
    text = rf"x \equiv {value} \pmod{{{modulus}}}"
    assert same_answer(text, rf"x \equiv {value + turns * modulus} \pmod{{{modulus}}}")
    assert not same_answer(text, rf"x \equiv {value + 1} \pmod{{{modulus}}}")


@given(st.integers(-60, 60), st.integers(2, 20))
def test_a_residue_is_its_remainder_and_no_other(value: int, modulus: int) -> None:
    remainder = value % modulus
    assert same_answer(rf"{value}\pmod{{{modulus}}}", str(remainder))
    assert not same_answer(rf"{value}\pmod{{{modulus}}}", str((remainder + 1) % modulus))
    assert not same_answer(rf"{value}\pmod{{{modulus}}}", str(remainder + modulus))


@given(st.integers(1, 20), st.integers(-20, 20))
def test_an_equation_is_itself_solved_for_another_name(a: int, b: int) -> None:
    """By lenient rules, in either order; with another number it is not."""
    equation, solved = f"F={a}mx+({b})", rf"x=\frac{{F-({b})}}{{{a}m}}"
    other = rf"x=\frac{{F-({b + 1})}}{{{a}m}}"
    for one, two in ((equation, solved), (solved, equation)):
        assert grade(rf"\boxed{{{one}}}", two).correct and not same_answer(one, two)
    assert not grade(rf"\boxed{{{other}}}", equation).correct and not grade(rf"\boxed{{{equation}}}", other).correct
