"""The formats that are read: FFmpeg's readers of what is whole in one file, each by its name.

Not among them: playlists and scripts, which name other files and may wait for them (hls, dash, concat, imf, sdp, rtsp,
sbg), devices, texts and subtitles, pictures, and samples without a header. A reader that an FFmpeg does not have is
passed over.
"""

_NAMES = """
    matroska,webm mov,mp4,m4a,3gp,3g2,mj2
    3dostr 4xm aa aac aax ac3 ac4 ace acm act adp ads adx aea afc aiff aix alp amr amrnb amrwb anm apac apc ape apm apng
    aptx aptx_hd apv argo_asf argo_brp argo_cvg asf asf_o ast au av1 avi avr avs avs2 avs3 bethsoftvid bfi bfstm bink
    binka bit bmv boa bonk brstm c93 caf cavsvideo cdg cdxl cine codec2 daud dcstr derf dfa dhav dirac dnxhd dsf dsicin
    dss dts dtshd dv dxa ea ea_cdata eac3 epaf evc film_cpk filmstrip flac flic flv frm fsb fwse g722 g723_1 g729 gdv
    genh gif gsm gxf h261 h263 h264 hca hcom hevc hnm hxvs iamf idcin iff ifv ilbc ingenient ipmovie ipu ircam iss iv8
    ivf ivr jpegxl_anim jv kux kvag laf lc3 lmlm4 loas luodat lvf lxf m4v mca mgsts mjpeg mjpeg_2000 mlp mlv mm mmf mods
    moflex mp3 mpc mpc8 mpeg mpegts mpegvideo msf msnwctcp msp mtaf mtv musx mv mvi mxf mxg nc nistsphere nsp nsv nut
    nuv obu ogg oma osq paf pdv pmp pp_bnk psxstr pva pvf qcp qoa r3d redspark rka rl2 rm roq rpl rsd rso s337m sbc scd
    sdns sdr2 sds sdx ser sga shn siff simbiosis_imx sln smjpeg smk smush sol sox spdif svag svs swf tak thp tiertexseq
    tmv truehd tta ty usm vag vc1 vc1test vidc vividas vivo vmd voc vpk vqf vvc w64 wady wav wavarc wc3movie webp_anim
    wsaud wsd wsvqa wtv wv wve xa xmd xmv xvag xwma yop yuv4mpegpipe"""

FORMATS = tuple(_NAMES.split())
